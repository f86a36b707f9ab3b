{#- Names of counters, without a row where the stream `counters` was not loaded. -#}
{%- set source_relation = source('metrika_calls', 'counters') -%}
{%- set table = metrika_calls.metrika_calls__table(source_relation)
    if var('metrika_calls_using_counters', true) else none -%}
{%- set types = metrika_calls.metrika_calls__columns(table) if table else {} -%}
{%- set text = metrika_calls.metrika_calls__type('text') -%}
{%- set bigint = metrika_calls.metrika_calls__type('bigint') -%}

with versions as (

    {% if table %}
    select
        cast(loaded.id as {{ bigint }}) as counter_id,
        {{ metrika_calls.metrika_calls__column(types, 'name', 'text') }} as counter_name,
        {{ metrika_calls.metrika_calls__column(types, 'site', 'text') }} as site,
        row_number() over (
            partition by loaded.id
            order by {{ metrika_calls.metrika_calls__column(types, '_sdc_extracted_at', 'timestamp') }} desc nulls last
        ) as version_number
    from {{ table }} as loaded
    {% else %}
    select
        cast(null as {{ bigint }}) as counter_id,
        cast(null as {{ text }}) as counter_name,
        cast(null as {{ text }}) as site,
        0 as version_number
    {% endif %}

)

select versions.counter_id, versions.counter_name, versions.site
from versions
where versions.version_number = 1
