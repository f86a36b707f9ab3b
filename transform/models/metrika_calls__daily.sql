with uploads as (

    select
        u.*,
        {{ metrika_calls.metrika_calls__day('u.created_at') }} as created_on,
        case when u.linked_rate is not null then u.line_quantity end as judged_line_quantity,
        case when u.linked_rate is not null then u.linked_quantity end as judged_linked_quantity
    from {{ ref('metrika_calls__uploads') }} as u

),

totals as (

    select
        u.upload_type,
        u.counter_id,
        u.created_on,
        u.client_id_type,
        count(*) as uploads,
        {{ metrika_calls.metrika_calls__sum('case when u.is_final then 1 else 0 end') }} as final_uploads,
        {{ metrika_calls.metrika_calls__sum('case when u.attention_reason is not null then 1 else 0 end') }} as attention_uploads,
        {{ metrika_calls.metrika_calls__sum('u.source_quantity') }} as source_quantity,
        {{ metrika_calls.metrika_calls__sum('u.line_quantity') }} as line_quantity,
        {{ metrika_calls.metrika_calls__sum('u.rejected_quantity') }} as rejected_quantity,
        {{ metrika_calls.metrika_calls__sum('u.linked_quantity') }} as linked_quantity,
        {{ metrika_calls.metrika_calls__sum('u.user_not_found_quantity') }} as user_not_found_quantity,
        {{ metrika_calls.metrika_calls__sum('u.goal_not_found_quantity') }} as goal_not_found_quantity,
        {{ metrika_calls.metrika_calls__sum('u.judged_line_quantity') }} as judged_line_quantity,
        {{ metrika_calls.metrika_calls__sum('u.judged_linked_quantity') }} as judged_linked_quantity
    from uploads as u
    group by u.upload_type, u.counter_id, u.created_on, u.client_id_type

)

select
    t.*,
    {{ metrika_calls.metrika_calls__rate('t.judged_linked_quantity', 't.judged_line_quantity') }} as linked_rate
from totals as t
