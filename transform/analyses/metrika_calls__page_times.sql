-- In how many hours uploads were processed, at most. Uploads that were final when they were
-- first seen tell nothing.
with seen as (

    select
        h.upload_key,
        min(h.created_at) as created_at,
        min(case when h.is_final then h.seen_at end) as processed_by,
        min(case when not h.is_final then h.seen_at end) as seen_in_flight_at
    from {{ ref('metrika_calls__history') }} as h
    group by h.upload_key

),

times as (

    select
        {{ metrika_calls.metrika_calls__seconds('s.created_at', 's.processed_by') }} / 3600.0 as hours
    from seen as s
    where s.created_at < s.processed_by
        and s.seen_in_flight_at < s.processed_by

),

places as (

    select
        t.hours,
        row_number() over (order by t.hours) as place,
        count(*) over () as uploads
    from times as t

)

select
    count(*) as uploads,
    min(case when 2 * p.place >= p.uploads then p.hours end) as median_hours,
    min(case when 10 * p.place >= 9 * p.uploads then p.hours end) as most_hours,
    {%- for hours in (1, 2, 4, 8, 24) %}
    {{ metrika_calls.metrika_calls__sum('case when p.hours <= ' ~ hours ~ ' then 1 else 0 end') }} as within_{{ hours }},
    {%- endfor %}
    max(p.hours) as longest_hours
from places as p
