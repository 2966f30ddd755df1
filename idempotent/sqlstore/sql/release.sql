-- Removes the record $1 under the token $2, if $3 is 'absent' or no effect was begun.
DELETE FROM {records} AS r
WHERE r.id = $1 AND r.token = $2 AND r.state = 'running' AND (NOT r.effect OR $3 = 'absent')
