-- No upload is lost or counted twice on its way through the marts.
with counts as (

    select
        (select count(*) from {{ ref('metrika_calls__uploads') }}) as uploads,
        (select coalesce(sum(d.uploads), 0) from {{ ref('metrika_calls__daily') }} as d) as daily,
        (select coalesce(sum(c.uploads), 0) from {{ ref('metrika_calls__counters') }} as c) as counters

)

select c.*
from counts as c
where c.uploads <> c.daily or c.uploads <> c.counters
