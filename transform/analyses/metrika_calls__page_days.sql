-- Uploads by day; the page takes the last 90 days.
select
    d.created_on,
    {{ metrika_calls.metrika_calls__sum('d.uploads') }} as uploads,
    {{ metrika_calls.metrika_calls__sum('d.attention_uploads') }} as attention_uploads,
    {{ metrika_calls.metrika_calls__sum('d.source_quantity') }} as source_quantity,
    {{ metrika_calls.metrika_calls__sum('d.line_quantity') }} as line_quantity,
    {{ metrika_calls.metrika_calls__sum('d.rejected_quantity') }} as rejected_quantity,
    {{ metrika_calls.metrika_calls__sum('d.linked_quantity') }} as linked_quantity,
    {{ metrika_calls.metrika_calls__rate('sum(d.judged_linked_quantity)', 'sum(d.judged_line_quantity)') }} as linked_rate
from {{ ref('metrika_calls__daily') }} as d
where d.created_on is not null
group by d.created_on
order by d.created_on desc
limit 90
