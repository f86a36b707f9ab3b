{% snapshot metrika_calls__history %}

{{ config(
    unique_key='upload_key',
    strategy='check',
    check_cols=['status', 'source_quantity', 'line_quantity', 'linked_quantity'],
) }}

-- seen_at stays what it was when a version was first seen: it is the bound of how long
-- processing took. dbt's own columns are in the local time of the session on DuckDB.
select
    u.upload_key,
    u.upload_type,
    u.counter_id,
    u.upload_id,
    u.created_at,
    u.status,
    u.is_final,
    u.source_quantity,
    u.line_quantity,
    u.linked_quantity,
    coalesce(u.extracted_at, {{ metrika_calls.metrika_calls__now() }}) as seen_at
from {{ ref('metrika_calls__uploads') }} as u

{% endsnapshot %}
