-- The counters with most uploads, by kind of visitor IDs, over the last 28 days.
with kinds as (

    select
        d.counter_id,
        d.client_id_type,
        {{ metrika_calls.metrika_calls__sum('d.uploads') }} as uploads,
        {{ metrika_calls.metrika_calls__sum('d.line_quantity') }} as line_quantity,
        {{ metrika_calls.metrika_calls__sum('d.rejected_quantity') }} as rejected_quantity,
        {{ metrika_calls.metrika_calls__rate('sum(d.judged_linked_quantity)', 'sum(d.judged_line_quantity)') }} as linked_rate
    from {{ ref('metrika_calls__daily') }} as d
    where d.created_on > {{ metrika_calls.metrika_calls__day(metrika_calls.metrika_calls__days_ago(28)) }}
    group by d.counter_id, d.client_id_type

),

counters as (

    select
        k.counter_id,
        row_number() over (order by sum(k.uploads) desc, k.counter_id) as place,
        count(*) over () as counters
    from kinds as k
    group by k.counter_id

)

select
    p.place,
    p.counters,
    k.counter_id as counter_id,
    c.counter_name,
    c.last_created_at,
    k.client_id_type,
    k.uploads as uploads,
    k.line_quantity,
    k.rejected_quantity,
    k.linked_rate
from counters as p
join kinds as k on k.counter_id = p.counter_id
join {{ ref('metrika_calls__counters') }} as c on c.counter_id = p.counter_id
where p.place <= 100
order by p.place, k.uploads desc, k.client_id_type
