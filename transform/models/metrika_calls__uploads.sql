{%- set bigint = metrika_calls.metrika_calls__type('bigint') -%}
{%- set text = metrika_calls.metrika_calls__type('text') -%}

with uploads as (

    select
        u.*,
        case when u.status in ('PROCESSED', 'LINKAGE_FAILURE') then true else false end as is_final
    from {{ ref('stg_metrika_calls__uploads') }} as u

),

dated as (

    select
        u.*,
        case
            when not u.is_final
                and {{ metrika_calls.metrika_calls__seconds('u.created_at', metrika_calls__now()) }}
                > {{ var('metrika_calls_stuck_after_hours', 2) }} * 3600
            then true else false
        end as is_stuck
    from uploads as u

)

select
    concat(
        u.upload_type, '-', cast(u.counter_id as {{ text }}), '-', cast(u.upload_id as {{ text }})
    ) as upload_key,
    u.upload_type,
    u.counter_id,
    u.upload_id,
    u.created_at,
    u.status,
    u.client_id_type,
    u.comment,
    u.source_quantity,
    u.line_quantity,
    u.static_calls_quantity,
    u.dynamic_calls_quantity,
    u.linked_quantity,
    u.user_not_found_quantity,
    u.goal_not_found_quantity,
    case
        when u.source_quantity > u.line_quantity then u.source_quantity - u.line_quantity
        when u.source_quantity <= u.line_quantity then 0
    end as rejected_quantity,
    case
        when u.is_final then {{ metrika_calls.metrika_calls__rate('u.linked_quantity', 'u.line_quantity') }}
    end as linked_rate,
    u.is_final,
    u.is_stuck,
    cast(
        case
            when u.is_stuck then 'stuck'
            when u.source_quantity > 0 and u.line_quantity = 0 then 'all_rows_rejected'
            when u.status = 'LINKAGE_FAILURE'
                and (u.upload_type <> 'calls' or coalesce(u.dynamic_calls_quantity, 1) > 0)
            then 'not_linked'
            when u.line_quantity < u.source_quantity then 'rows_rejected'
        end as {{ text }}
    ) as attention_reason,
    u.extracted_at
from dated as u
