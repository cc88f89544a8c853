// pgx against Tidemill. One line on stdout for each step that went as it should; see ../mod.rs.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

var background = context.Background()

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func check(seen, expected any) {
	if !reflect.DeepEqual(seen, expected) {
		panic(fmt.Sprintf("%#v instead of %#v", seen, expected))
	}
}

// everything is a row of every type; pointers are nil where a value is null.
type everything struct {
	b  *bool
	s  *int16
	i  *int32
	l  *int64
	r  *float32
	d  *float64
	n  pgtype.Numeric
	t  *string
	v  *string
	y  []byte
	da *time.Time
	ts *time.Time
	tz *time.Time
	iv pgtype.Interval
	a  []*int32
	ta []*string
}

func (e *everything) read(row pgx.Row) {
	must(row.Scan(&e.b, &e.s, &e.i, &e.l, &e.r, &e.d, &e.n, &e.t, &e.v, &e.y, &e.da, &e.ts, &e.tz, &e.iv, &e.a, &e.ta))
}

func types(connection *pgx.Conn, format int16) {
	query := os.Getenv("EVERY_TYPE")
	formats := pgx.QueryResultFormats{format}
	var e everything
	e.read(connection.QueryRow(background, query, formats, 1))
	numeric, err := e.n.Float64Value()
	must(err)
	check([]any{*e.b, *e.s, *e.i, *e.l, *e.r, *e.d, numeric.Float64, *e.t, *e.v, e.y},
		[]any{true, int16(1), int32(2), int64(3), float32(1.5), 2.25, 12.34, "text", "abc", []byte{1, 2, 255}})
	check(e.da.Format("2006-01-02"), "2024-02-29")
	check(e.ts.Format(time.RFC3339Nano), "2024-02-29T12:34:56.789012Z")
	check(e.tz.UTC().Format(time.RFC3339Nano), "2024-02-29T10:34:56Z")
	check(e.iv, pgtype.Interval{Microseconds: 11_045_600_000, Days: 2, Valid: true})
	check([]any{len(e.a), *e.a[0], e.a[1] == nil, *e.a[2]}, []any{3, int32(1), true, int32(3)})
	check([]any{len(e.ta), *e.ta[0], *e.ta[1], e.ta[2] == nil}, []any{3, "x", `y"z`, true})
	var none everything
	none.read(connection.QueryRow(background, query, formats, 2))
	check(none.b == nil && none.l == nil && none.t == nil && none.y == nil && none.tz == nil && !none.n.Valid, true)
}

func parameters(connection *pgx.Conn) {
	query := `SELECT id FROM every_type WHERE b = $1 AND s = $2 AND i = $3 AND l = $4 AND r = $5 AND d = $6 AND n = $7
		AND t = $8 AND v = $9 AND y = $10 AND da = $11 AND ts = $12 AND tz = $13`
	day := time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC)
	moment := time.Date(2024, 2, 29, 12, 34, 56, 789012000, time.UTC)
	instant := time.Date(2024, 2, 29, 10, 34, 56, 0, time.UTC)
	var numeric pgtype.Numeric
	must(numeric.Scan("12.34"))
	modes := []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
	}
	for _, mode := range modes {
		for attempt := 0; attempt < 2; attempt++ {
			var id int32
			must(connection.QueryRow(background, query, mode, true, int16(1), 2, int64(3), float32(1.5), 2.25, numeric,
				"text", "abc", []byte{1, 2, 255}, day, moment, instant).Scan(&id))
			check(id, int32(1))
		}
	}
	var count int64
	query = "SELECT count(*) FROM every_type WHERE id = ANY($1)"
	must(connection.QueryRow(background, query, []int32{1, 2, 3}).Scan(&count))
	check(count, int64(2))
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		must(connection.QueryRow(background, "SELECT count(*) FROM every_type WHERE id = $1 AND t = $2", mode, 1, "text").Scan(&count))
		check(count, int64(1))
	}
	var null *int32
	must(connection.QueryRow(background, "SELECT $1::int", nil).Scan(&null))
	check(null == nil, true)
	_, err := connection.Prepare(background, "by_id", "SELECT t FROM every_type WHERE id = $1")
	must(err)
	var text string
	must(connection.QueryRow(background, "by_id", 1).Scan(&text))
	check(text, "text")
	must(connection.Deallocate(background, "by_id"))
}

// state is the SQLSTATE of an error.
func state(err error) string {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		panic(fmt.Sprintf("%v instead of an error of the server", err))
	}
	return answer.Code
}

func failure(connection *pgx.Conn) {
	_, err := connection.Exec(background, "SELECT nosuch FROM every_type")
	check(state(err), "42703")
	_, err = connection.Exec(background, "SELECT 1 / $1", 0)
	check(state(err), "22012")
	var answer int64
	must(connection.QueryRow(background, "SELECT 6 * 7").Scan(&answer))
	check(answer, int64(42))
	batch := &pgx.Batch{}
	batch.Queue("SELECT 1")
	batch.Queue("SELECT nosuch")
	batch.Queue("SELECT 2")
	check(state(connection.SendBatch(background, batch).Close()), "42703")
	must(connection.Ping(background))
}

func block(connection *pgx.Conn) {
	must(pgx.BeginFunc(background, connection, func(tx pgx.Tx) error {
		var count int64
		return tx.QueryRow(background, "SELECT count(*) FROM every_type").Scan(&count)
	}))
	err := pgx.BeginFunc(background, connection, func(tx pgx.Tx) error {
		_, err := tx.Exec(background, "SELECT nosuch")
		return err
	})
	check(state(err), "42703")
	check(connection.PgConn().TxStatus(), byte('I'))
}

func cursor(connection *pgx.Conn) {
	must(pgx.BeginFunc(background, connection, func(tx pgx.Tx) error {
		_, err := tx.Exec(background, "DECLARE numbers CURSOR FOR SELECT n FROM generate_series(1, 1000) AS n ORDER BY n")
		must(err)
		rows, err := tx.Query(background, "FETCH 10 FROM numbers")
		must(err)
		numbers, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		must(err)
		check(numbers, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
		tag, err := tx.Exec(background, "FETCH ALL numbers")
		must(err)
		check(tag.String(), "FETCH 990")
		_, err = tx.Exec(background, "CLOSE numbers")
		return err
	}))
}

func copyOut(connection *pgx.Conn) {
	var out strings.Builder
	tag, err := connection.PgConn().CopyTo(background, &out, "COPY (SELECT id, t, b FROM every_type ORDER BY id) TO STDOUT")
	must(err)
	check(tag.String(), "COPY 2")
	check(out.String(), "1\ttext\tt\n2\t\\N\t\\N\n")
}

// firstLines cancels a COPY once it has shown so many lines.
type firstLines struct {
	lines  []string
	wanted int
	cancel func()
}

func (f *firstLines) Write(data []byte) (int, error) {
	line := string(data)
	f.lines = append(f.lines, line[strings.Index(line, "\t"):])
	if len(f.lines) == f.wanted {
		f.cancel()
	}
	return len(data), nil
}

func subscribe() {
	connection, err := pgx.Connect(background, "")
	must(err)
	first := &firstLines{wanted: 2, cancel: func() { must(connection.PgConn().CancelRequest(background)) }}
	_, err = connection.PgConn().CopyTo(background, first, "COPY (SUBSCRIBE (SELECT id FROM every_type)) TO STDOUT")
	check(state(err), "57014")
	sort.Strings(first.lines)
	check(first.lines, []string{"\t1\t1\n", "\t1\t2\n"})
	// Rows come as they are made, so no cursor is needed.
	rows, err := connection.Query(background, "SUBSCRIBE every_type")
	must(err)
	check(rows.Next() && rows.Next(), true)
	must(connection.PgConn().CancelRequest(background))
	rows.Close()
	check(state(rows.Err()), "57014")
	must(connection.Close(background))
}

func cancel() {
	connection, err := pgx.Connect(background, "")
	must(err)
	go func() {
		time.Sleep(500 * time.Millisecond)
		must(connection.PgConn().CancelRequest(background))
	}()
	_, err = connection.Exec(background, os.Getenv("ENDLESS"))
	check(state(err), "57014")
	must(connection.Ping(background))
	// A context that ends closes the connection, and the server notices.
	short, done := context.WithTimeout(background, 300*time.Millisecond)
	defer done()
	_, err = connection.Exec(short, os.Getenv("ENDLESS"))
	check(err != nil && connection.IsClosed(), true)
}

func main() {
	// Host, port, user and database come from libpq's variables.
	connection, err := pgx.Connect(background, "")
	must(err)
	defer connection.Close(background)
	must(connection.Ping(background))
	fmt.Println("connect")
	types(connection, pgx.TextFormatCode)
	fmt.Println("text")
	types(connection, pgx.BinaryFormatCode)
	fmt.Println("binary")
	parameters(connection)
	fmt.Println("parameters")
	failure(connection)
	fmt.Println("failure")
	block(connection)
	fmt.Println("block")
	cursor(connection)
	fmt.Println("cursor")
	copyOut(connection)
	fmt.Println("copy")
	subscribe()
	fmt.Println("subscribe")
	cancel()
	fmt.Println("cancel")
}
