-- Counters that fell silent, those that did so last first.
select
    c.counter_id,
    c.counter_name,
    c.uploads,
    c.last_created_at,
    c.median_interval_hours
from {{ ref('metrika_calls__counters') }} as c
where c.is_silent
order by c.last_created_at desc, c.counter_id
limit 100
