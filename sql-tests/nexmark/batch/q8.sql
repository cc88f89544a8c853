SELECT DISTINCT p.id, p.name, date_bin(INTERVAL '10 seconds', p.datetime) AS starttime
FROM person AS p
JOIN auction AS a
ON p.id = a.seller AND date_bin(INTERVAL '10 seconds', p.datetime) = date_bin(INTERVAL '10 seconds', a.datetime)
