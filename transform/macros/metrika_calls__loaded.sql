{#- The table of a source, or none where it was not loaded. -#}
{% macro metrika_calls__table(source_relation) %}
    {%- if execute -%}
        {{- return(adapter.get_relation(
            database=source_relation.database,
            schema=source_relation.schema,
            identifier=source_relation.identifier,
        )) -}}
    {%- endif -%}
    {{- return(none) -}}
{% endmacro %}


{#- The type of each column of a table, by its name in lower case. -#}
{% macro metrika_calls__columns(relation) %}
    {%- set types = {} -%}
    {%- for column in adapter.get_columns_in_relation(relation) -%}
        {%- do types.update({column.name | lower: column.data_type | lower}) -%}
    {%- endfor -%}
    {{- return(types) -}}
{% endmacro %}


{#- A column in the type that the models promise; null where the table lacks it. -#}
{% macro metrika_calls__column(types, name, kind) -%}
    {%- set type = metrika_calls.metrika_calls__type(kind) -%}
    {%- if name not in types -%}
        cast(null as {{ type }})
    {%- elif kind == 'timestamp' -%}
        {{ metrika_calls.metrika_calls__utc('loaded.' ~ name, types[name]) }}
    {%- else -%}
        cast(loaded.{{ name }} as {{ type }})
    {%- endif -%}
{%- endmacro %}


{#- A query for dbt source freshness, also where the loader does not record the time. -#}
{% macro metrika_calls__loaded_at(relation) %}
    {%- set table = metrika_calls.metrika_calls__table(relation) -%}
    {%- set types = metrika_calls.metrika_calls__columns(table) if table else {} -%}
    {%- if '_sdc_extracted_at' in types -%}
        select max({{ metrika_calls.metrika_calls__utc('loaded._sdc_extracted_at', types['_sdc_extracted_at']) }})
        from {{ relation }} as loaded
    {%- else -%}
        {%- do exceptions.warn(relation ~ ' has no column _sdc_extracted_at: its freshness is not known') -%}
        select {{ metrika_calls.metrika_calls__now() }}
    {%- endif -%}
{% endmacro %}
