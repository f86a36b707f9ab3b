-- One row: what the head of the page says.
{%- set age = metrika_calls.metrika_calls__seconds('u.created_at', metrika_calls__now()) %}
{%- set month = age ~ ' < 28 * 24 * 3600' %}
with uploads as (

    select
        count(*) as uploads,
        max(u.created_at) as last_created_at,
        max(u.extracted_at) as last_extracted_at,
        {{ metrika_calls.metrika_calls__sum('case when u.created_at is null then 1 else 0 end') }} as undated_uploads,
        {{ metrika_calls.metrika_calls__sum('case when ' ~ month ~ ' then 1 else 0 end') }} as month_uploads,
        {{ metrika_calls.metrika_calls__sum('case when ' ~ month ~ ' then u.line_quantity end') }} as month_rows,
        {{ metrika_calls.metrika_calls__sum('case when ' ~ month ~ ' and u.linked_rate is not null then u.line_quantity end') }} as judged_rows,
        {{ metrika_calls.metrika_calls__sum('case when ' ~ month ~ ' and u.linked_rate is not null then u.linked_quantity end') }} as linked_rows
    from {{ ref('metrika_calls__uploads') }} as u

),

counters as (

    select
        count(*) as counters,
        {{ metrika_calls.metrika_calls__sum('case when c.is_silent then 1 else 0 end') }} as silent_counters,
        {{ metrika_calls.metrika_calls__sum('case when c.is_linked_rate_fallen then 1 else 0 end') }} as fallen_counters
    from {{ ref('metrika_calls__counters') }} as c

)

select
    u.*,
    {{ metrika_calls.metrika_calls__rate('u.linked_rows', 'u.judged_rows') }} as month_linked_rate,
    c.*,
    {{ metrika_calls.metrika_calls__now() }} as built_at,
    {{ metrika_calls.metrika_calls__day(metrika_calls__now()) }} as today
from uploads as u
cross join counters as c
