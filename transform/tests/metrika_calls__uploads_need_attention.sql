{{ config(severity=var('metrika_calls_attention_severity', 'warn')) }}

{#- With these it runs last: an alarm must not keep them from being built. -#}
{%- do ref('metrika_calls__daily') -%}
{%- do ref('metrika_calls__counters') -%}
{%- do ref('metrika_calls__history') -%}

{%- set reasons = var(
    'metrika_calls_attention_reasons',
    ['stuck', 'all_rows_rejected', 'not_linked', 'rows_rejected']
) -%}
{%- set days = var('metrika_calls_attention_days', none) -%}
{%- set shown = 20 -%}
{%- set failing -%}
select
    u.upload_key,
    u.attention_reason,
    u.counter_id,
    u.upload_id,
    u.created_at,
    u.status,
    u.source_quantity,
    u.line_quantity,
    u.comment
from {{ ref('metrika_calls__uploads') }} as u
where u.attention_reason in ({% for reason in reasons %}'{{ reason }}'{{ ', ' if not loop.last }}{% endfor %})
{%- if days is not none %}
    and {{ metrika_calls.metrika_calls__seconds('u.created_at', metrika_calls__now()) }} < {{ days }} * 24 * 3600
{%- endif %}
{%- endset -%}

{#- dbt itself tells only how many rows failed: whoever reads its output wants to know which. -#}
{%- if execute and flags.WHICH in ('build', 'test') -%}
    {%- set rows = run_query(failing ~ ' order by u.created_at desc').rows -%}
    {%- for row in rows[:shown] -%}
        {%- do log(
            row['attention_reason'] ~ ': counter ' ~ row['counter_id'] ~ ', upload ' ~ row['upload_id']
            ~ ', ' ~ row['status'] ~ ', created at ' ~ row['created_at'],
            info=true
        ) -%}
    {%- endfor -%}
    {%- if rows | length > shown -%}
        {%- do log('... and ' ~ (rows | length - shown) ~ ' more uploads', info=true) -%}
    {%- endif -%}
{%- endif -%}

{{ failing }}
