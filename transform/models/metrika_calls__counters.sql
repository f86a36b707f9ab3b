{%- set hour = 3600 -%}
{%- set day = 24 * hour -%}
{%- set rate = metrika_calls.metrika_calls__type('rate') -%}

with uploads as (

    select
        u.counter_id,
        u.created_at,
        u.attention_reason,
        case when u.linked_rate is not null then u.line_quantity end as line_quantity,
        case when u.linked_rate is not null then u.linked_quantity end as linked_quantity,
        cast({{ metrika_calls.metrika_calls__seconds('u.created_at', metrika_calls__now()) }} as {{ rate }}) as age,
        min(u.created_at) over (
            partition by u.counter_id
            order by u.created_at
            rows between 1 preceding and 1 preceding
        ) as previous_created_at
    from {{ ref('metrika_calls__uploads') }} as u

),

-- Files that are uploaded one right after the other are one occasion: three files each
-- Monday come once a week.
intervals as (

    select
        i.counter_id,
        i.seconds,
        row_number() over (partition by i.counter_id order by i.seconds) as place,
        count(*) over (partition by i.counter_id) as places
    from (
        select
            u.counter_id,
            cast({{ metrika_calls.metrika_calls__seconds('u.previous_created_at', 'u.created_at') }} as {{ rate }}) as seconds
        from uploads as u
        where u.previous_created_at is not null
    ) as i
    where i.seconds >= {{ hour }}

),

medians as (

    select i.counter_id, avg(i.seconds) as median_seconds
    from intervals as i
    where 2 * i.place between i.places and i.places + 2
    group by i.counter_id

),

totals as (

    select
        u.counter_id,
        count(*) as uploads,
        count(u.created_at) as dated_uploads,
        {{ metrika_calls.metrika_calls__sum('case when u.attention_reason is not null then 1 else 0 end') }} as attention_uploads,
        max(u.created_at) as last_created_at,
        min(u.age) as silent_seconds,
        {%- set recent = 'u.age < ' ~ 7 * day %}
        {%- set before = 'u.age >= ' ~ 7 * day ~ ' and u.age < ' ~ 35 * day %}
        {{ metrika_calls.metrika_calls__sum('case when ' ~ recent ~ ' then u.line_quantity end') }} as line_quantity_recent,
        {{ metrika_calls.metrika_calls__sum('case when ' ~ recent ~ ' then u.linked_quantity end') }} as linked_quantity_recent,
        {{ metrika_calls.metrika_calls__sum('case when ' ~ before ~ ' then u.line_quantity end') }} as line_quantity_before,
        {{ metrika_calls.metrika_calls__sum('case when ' ~ before ~ ' then u.linked_quantity end') }} as linked_quantity_before
    from uploads as u
    group by u.counter_id

),

rates as (

    select
        t.*,
        {{ metrika_calls.metrika_calls__rate('t.linked_quantity_recent', 't.line_quantity_recent') }} as linked_rate_recent,
        {{ metrika_calls.metrika_calls__rate('t.linked_quantity_before', 't.line_quantity_before') }} as linked_rate_before
    from totals as t

)

select
    r.counter_id as counter_id,
    n.counter_name,
    n.site,
    r.uploads,
    r.attention_uploads,
    r.last_created_at,
    m.median_seconds / {{ hour }} as median_interval_hours,
    case
        when r.dated_uploads >= 5
            and r.silent_seconds >= {{ 2 * day }}
            and r.silent_seconds > 3 * coalesce(m.median_seconds, 0)
        then true else false
    end as is_silent,
    r.line_quantity_recent,
    r.line_quantity_before,
    r.linked_rate_recent,
    r.linked_rate_before,
    case
        when r.line_quantity_recent >= 20
            and r.line_quantity_before >= 20
            and r.linked_rate_recent < r.linked_rate_before / 2
        then true else false
    end as is_linked_rate_fallen
from rates as r
left join medians as m on m.counter_id = r.counter_id
left join {{ ref('stg_metrika_calls__counters') }} as n on n.counter_id = r.counter_id
