{#- One row per upload of each stream that was loaded, in its latest version. -#}
{%- set streams = {
    'calls': source('metrika_calls', 'calls_uploadings'),
    'conversions': source('metrika_calls', 'conversions_uploadings'),
    'chats': source('metrika_calls', 'chats_uploadings'),
} -%}
{%- set columns = {
    'status': 'text',
    'client_id_type': 'text',
    'comment': 'text',
    'source_quantity': 'bigint',
    'line_quantity': 'bigint',
    'static_calls_quantity': 'bigint',
    'dynamic_calls_quantity': 'bigint',
    'linked_quantity': 'bigint',
    'user_not_found_quantity': 'bigint',
    'goal_not_found_quantity': 'bigint',
} -%}
{%- set tables = {} -%}
{%- for upload_type, source_relation in streams.items() -%}
    {%- set table = metrika_calls.metrika_calls__table(source_relation) -%}
    {%- if table -%}{%- do tables.update({upload_type: table}) -%}{%- endif -%}
{%- endfor -%}
{%- if execute and not tables -%}
    {%- do exceptions.raise_compiler_error(
        'No table calls_uploadings in the schema ' ~ streams['calls'].schema
        ~ ': load the uploads first, or name the schema in metrika_calls_schema.'
    ) -%}
{%- endif -%}

with versions as (

    {% for upload_type, table in tables.items() %}
    {%- set types = metrika_calls.metrika_calls__columns(table) %}
    select
        cast('{{ upload_type }}' as {{ metrika_calls.metrika_calls__type('text') }}) as upload_type,
        cast(loaded.counter_id as {{ metrika_calls.metrika_calls__type('bigint') }}) as counter_id,
        cast(loaded.id as {{ metrika_calls.metrika_calls__type('bigint') }}) as upload_id,
        {{ metrika_calls.metrika_calls__column(types, 'create_time', 'timestamp') }} as created_at,
        {%- for name, kind in columns.items() %}
        {{ metrika_calls.metrika_calls__column(types, name, kind) }} as {{ name }},
        {%- endfor %}
        {{ metrika_calls.metrika_calls__column(types, '_sdc_extracted_at', 'timestamp') }} as extracted_at,
        {{ metrika_calls.metrika_calls__column(types, '_sdc_deleted_at', 'timestamp') }} as deleted_at
    from {{ table }} as loaded
    {% if not loop.last %}union all{% endif %}
    {% else %}
    select null as upload_type
    {% endfor %}

),

ranked as (

    -- A status only moves on, so that it tells the order where the loader does not.
    select
        versions.*,
        row_number() over (
            partition by versions.upload_type, versions.counter_id, versions.upload_id
            order by
                versions.extracted_at desc nulls last,
                case versions.status
                    when 'PROCESSED' then 5
                    when 'LINKAGE_FAILURE' then 5
                    when 'MATCHED' then 4
                    when 'EXPORTED' then 3
                    when 'UPLOADED' then 2
                    when 'PREPARED' then 1
                    else 0
                end desc
        ) as version_number
    from versions

)

select
    ranked.upload_type,
    ranked.counter_id,
    ranked.upload_id,
    ranked.created_at,
    {%- for name in columns %}
    ranked.{{ name }},
    {%- endfor %}
    ranked.extracted_at
from ranked
where ranked.version_number = 1
    and ranked.deleted_at is null
