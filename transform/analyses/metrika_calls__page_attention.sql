-- The latest uploads that need attention, of each reason.
with places as (

    select
        u.*,
        row_number() over (
            partition by u.attention_reason
            order by u.created_at desc nulls last, u.counter_id, u.upload_id desc
        ) as place
    from {{ ref('metrika_calls__uploads') }} as u
    where u.attention_reason is not null

)

select
    p.attention_reason,
    p.place,
    p.upload_type,
    p.counter_id as counter_id,
    c.counter_name,
    p.upload_id,
    p.created_at,
    p.status,
    p.client_id_type,
    p.source_quantity,
    p.line_quantity,
    p.rejected_quantity,
    p.linked_quantity,
    p.user_not_found_quantity,
    p.goal_not_found_quantity,
    p.comment
from places as p
left join {{ ref('metrika_calls__counters') }} as c on c.counter_id = p.counter_id
where p.place <= 10
order by p.attention_reason, p.place
