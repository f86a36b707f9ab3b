{#- The time now, in UTC. -#}
{% macro metrika_calls__now() %}
    {{- return(adapter.dispatch('metrika_calls__now', 'metrika_calls')()) -}}
{% endmacro %}

{% macro default__metrika_calls__now() -%}
    cast(current_timestamp at time zone 'UTC' as timestamp)
{%- endmacro %}

{% macro bigquery__metrika_calls__now() -%}
    current_timestamp()
{%- endmacro %}

{% macro clickhouse__metrika_calls__now() -%}
    now64(6, 'UTC')
{%- endmacro %}


{#- A column with a time as UTC, whatever type and time zone the loader gave it. -#}
{% macro metrika_calls__utc(column, data_type) %}
    {{- return(adapter.dispatch('metrika_calls__utc', 'metrika_calls')(column, data_type | lower)) -}}
{% endmacro %}

{% macro default__metrika_calls__utc(column, data_type) -%}
    {%- if 'with time zone' in data_type or 'timestamptz' in data_type -%}
        cast({{ column }} at time zone 'UTC' as timestamp)
    {%- elif 'timestamp' in data_type or 'date' in data_type -%}
        cast({{ column }} as timestamp)
    {%- else -%}
        cast(cast(nullif({{ column }}, '') as timestamp with time zone) at time zone 'UTC' as timestamp)
    {%- endif -%}
{%- endmacro %}

{% macro bigquery__metrika_calls__utc(column, data_type) -%}
    cast({{ column }} as timestamp)
{%- endmacro %}

{% macro clickhouse__metrika_calls__utc(column, data_type) -%}
    {%- if 'string' in data_type -%}
        accurateCastOrNull({{ column }}, 'DateTime64(6, \'UTC\')')
    {%- else -%}
        toTimeZone(cast({{ column }} as Nullable(DateTime64(6))), 'UTC')
    {%- endif -%}
{%- endmacro %}


{#- The day of a time in UTC, in the time zone of the reports. -#}
{% macro metrika_calls__day(column) %}
    {{- return(adapter.dispatch('metrika_calls__day', 'metrika_calls')(column, var('metrika_calls_time_zone', 'UTC'))) -}}
{% endmacro %}

{% macro default__metrika_calls__day(column, zone) -%}
    cast(({{ column }} at time zone 'UTC') at time zone '{{ zone }}' as date)
{%- endmacro %}

{% macro bigquery__metrika_calls__day(column, zone) -%}
    date({{ column }}, '{{ zone }}')
{%- endmacro %}

{% macro clickhouse__metrika_calls__day(column, zone) -%}
    toDate32({{ column }}, '{{ zone }}')
{%- endmacro %}


{#- Seconds from one time to another. -#}
{% macro metrika_calls__seconds(earlier, later) %}
    {{- return(adapter.dispatch('metrika_calls__seconds', 'metrika_calls')(earlier, later)) -}}
{% endmacro %}

{% macro default__metrika_calls__seconds(earlier, later) -%}
    extract(epoch from ({{ later }} - {{ earlier }}))
{%- endmacro %}

{% macro bigquery__metrika_calls__seconds(earlier, later) -%}
    timestamp_diff({{ later }}, {{ earlier }}, second)
{%- endmacro %}

{% macro clickhouse__metrika_calls__seconds(earlier, later) -%}
    dateDiff('second', {{ earlier }}, {{ later }})
{%- endmacro %}


{#- The time so many days before now, in UTC. -#}
{% macro metrika_calls__days_ago(days) %}
    {{- return(adapter.dispatch('metrika_calls__days_ago', 'metrika_calls')(days)) -}}
{% endmacro %}

{% macro default__metrika_calls__days_ago(days) -%}
    ({{ metrika_calls__now() }} - interval '{{ days }} days')
{%- endmacro %}

{% macro bigquery__metrika_calls__days_ago(days) -%}
    timestamp_sub({{ metrika_calls__now() }}, interval {{ days }} day)
{%- endmacro %}

{% macro clickhouse__metrika_calls__days_ago(days) -%}
    ({{ metrika_calls__now() }} - toIntervalDay({{ days }}))
{%- endmacro %}
