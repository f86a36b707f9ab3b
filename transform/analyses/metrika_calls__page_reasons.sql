-- How many uploads need attention, by reason.
select
    u.attention_reason,
    count(*) as uploads,
    {{ metrika_calls.metrika_calls__sum(
        'case when ' ~ metrika_calls.metrika_calls__seconds('u.created_at', metrika_calls__now())
        ~ ' < 7 * 24 * 3600 then 1 else 0 end'
    ) }} as week_uploads
from {{ ref('metrika_calls__uploads') }} as u
where u.attention_reason is not null
group by u.attention_reason
