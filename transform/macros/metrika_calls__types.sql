{#- The engine's name of a type that may be null: `bigint`, `text`, `timestamp` or `rate`. -#}
{% macro metrika_calls__type(kind) %}
    {{- return(adapter.dispatch('metrika_calls__type', 'metrika_calls')(kind)) -}}
{% endmacro %}

{% macro default__metrika_calls__type(kind) -%}
    {{ {'bigint': 'bigint', 'text': 'text', 'timestamp': 'timestamp', 'rate': 'double precision'}[kind] }}
{%- endmacro %}

{% macro bigquery__metrika_calls__type(kind) -%}
    {{ {'bigint': 'int64', 'text': 'string', 'timestamp': 'timestamp', 'rate': 'float64'}[kind] }}
{%- endmacro %}

{% macro clickhouse__metrika_calls__type(kind) -%}
    {{ {
        'bigint': 'Nullable(Int64)',
        'text': 'Nullable(String)',
        'timestamp': "Nullable(DateTime64(6, 'UTC'))",
        'rate': 'Nullable(Float64)',
    }[kind] }}
{%- endmacro %}


{#- A sum of whole numbers as a whole number: engines widen it, each in its own way. -#}
{% macro metrika_calls__sum(expression) -%}
    cast(sum({{ expression }}) as {{ metrika_calls.metrika_calls__type('bigint') }})
{%- endmacro %}


{#- A share between 0 and 1, null where there is nothing to share. -#}
{% macro metrika_calls__rate(part, whole) -%}
    cast({{ part }} as {{ metrika_calls.metrika_calls__type('rate') }}) / nullif({{ whole }}, 0)
{%- endmacro %}
