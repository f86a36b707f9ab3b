select d.upload_type, d.counter_id, d.created_on, d.client_id_type, count(*) as places
from {{ ref('metrika_calls__daily') }} as d
group by d.upload_type, d.counter_id, d.created_on, d.client_id_type
having count(*) > 1
