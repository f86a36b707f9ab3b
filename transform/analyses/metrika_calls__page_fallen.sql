-- Counters whose linked share fell, those with most rows first.
select
    c.counter_id,
    c.counter_name,
    c.line_quantity_recent,
    c.line_quantity_before,
    c.linked_rate_recent,
    c.linked_rate_before
from {{ ref('metrika_calls__counters') }} as c
where c.is_linked_rate_fallen
order by c.line_quantity_recent desc, c.counter_id
limit 100
