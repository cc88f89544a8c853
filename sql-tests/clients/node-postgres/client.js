// node-postgres against Tidemill. One line on stdout for each step that went as it should; see ../mod.rs.
"use strict";

const assert = require("assert");
const { Client, types } = require("pg");

// Dates and timestamps as they come: the driver would take them for local time.
for (const oid of [1082, 1114]) types.setTypeParser(oid, "text", (value) => value);

async function connect(extra) {
  // Host, port, user and database come from libpq's variables.
  const client = new Client({ ...extra });
  await client.connect();
  return client;
}

async function readTypes(client) {
  const query = { text: process.env.EVERY_TYPE, values: [1] };
  const { rows } = await client.query(query);
  assert.strictEqual(rows.length, 1);
  const { b, s, i, l, r, d, n, t, v, y, da, ts, tz, iv, a, ta } = rows[0];
  assert.deepStrictEqual([b, s, i, l, r, d, n, t, v], [true, 1, 2, "3", 1.5, 2.25, "12.34", "text", "abc"]);
  assert.deepStrictEqual([...y], [1, 2, 255]);
  assert.deepStrictEqual([da, ts], ["2024-02-29", "2024-02-29 12:34:56.789012"]);
  assert.strictEqual(tz.toISOString(), "2024-02-29T10:34:56.000Z");
  assert.strictEqual(iv.toISOString(), "P0Y0M2DT3H4M5.6S");
  assert.deepStrictEqual([a, ta], [[1, null, 3], ["x", 'y"z', null]]);
  const empty = (await client.query(process.env.EVERY_TYPE, [2])).rows[0];
  for (const name of ["b", "s", "i", "l", "r", "d", "n", "t", "v", "y", "da", "ts", "tz"]) {
    assert.strictEqual(empty[name], null);
  }
}

// What the driver can read in binary. Of reals, timestamps and arrays with nulls it makes other values, from bytes that
// the three other drivers read right.
async function readBinary(client) {
  const text = "SELECT b, s, i, l, d, n, t FROM (" + process.env.EVERY_TYPE + ") AS x";
  const { rows } = await client.query({ text, values: [1], binary: true });
  const { b, s, i, l, d, n, t } = rows[0];
  assert.deepStrictEqual([b, s, i, String(l), d, Number(n), t], [true, 1, 2, "3", 2.25, 12.34, "text"]);
}

async function parameters(client) {
  const text =
    "SELECT id FROM every_type WHERE b = $1 AND s = $2 AND i = $3 AND l = $4 AND r = $5 AND d = $6 AND n = $7" +
    " AND t = $8 AND v = $9 AND y = $10 AND da = $11 AND ts = $12 AND tz = $13";
  const values = [true, 1, 2, "3", 1.5, 2.25, "12.34", "text", "abc", Buffer.from([1, 2, 255])];
  values.push("2024-02-29", "2024-02-29 12:34:56.789012", new Date("2024-02-29T10:34:56Z"));
  for (const name of [undefined, "by_all", "by_all"]) {
    const { rows } = await client.query({ name, text, values });
    assert.deepStrictEqual(rows, [{ id: 1 }]);
  }
  const array = await client.query("SELECT id FROM every_type WHERE id = ANY($1) ORDER BY id", [[1, 2, 3]]);
  assert.deepStrictEqual(array.rows, [{ id: 1 }, { id: 2 }]);
  const nothing = await client.query("SELECT $1::int AS n", [null]);
  assert.deepStrictEqual(nothing.rows, [{ n: null }]);
}

async function failure(client) {
  await assert.rejects(client.query("SELECT nosuch FROM every_type"), { code: "42703", position: "8" });
  await assert.rejects(client.query("SELECT 1 / $1", [0]), { code: "22012" });
  await assert.rejects(client.query("SELECT $1::int", ["x"]), { code: "22P02" });
  assert.deepStrictEqual((await client.query("SELECT 6 * 7 AS answer")).rows, [{ answer: 42 }]);
}

async function block(client) {
  await client.query("BEGIN");
  await assert.rejects(client.query("SELECT nosuch"), { code: "42703" });
  await assert.rejects(client.query("SELECT 1"), { code: "25P02" });
  await client.query("ROLLBACK");
  const both = await client.query("SELECT 1 AS a; SELECT 2 AS b");
  assert.deepStrictEqual(both.map((result) => result.rows), [[{ a: 1 }], [{ b: 2 }]]);
}

async function cursor(client) {
  await client.query("BEGIN");
  await client.query("DECLARE numbers CURSOR FOR SELECT n FROM generate_series(1, 1000) AS n ORDER BY n");
  const some = await client.query("FETCH 3 FROM numbers");
  assert.deepStrictEqual(some.rows.map((row) => row.n), ["1", "2", "3"]);
  assert.strictEqual((await client.query("FETCH ALL numbers")).rowCount, 997);
  await client.query("CLOSE numbers");
  await client.query("COMMIT");
}

async function subscribe(client) {
  await client.query("BEGIN");
  await client.query("DECLARE changes CURSOR FOR SUBSCRIBE (SELECT id FROM every_type)");
  const rows = [];
  while (rows.length < 2) rows.push(...(await client.query("FETCH ALL changes WITH (timeout = '1s')")).rows);
  assert.deepStrictEqual(rows.map((row) => [row.tidemill_diff, row.id]).sort(), [["1", 1], ["1", 2]]);
  await client.query("COMMIT");
}

// The driver cannot cancel by itself: it does as psql does, over a second connection.
async function cancel(client) {
  const endless = client.query(process.env.ENDLESS);
  const canceled = assert.rejects(endless, { code: "57014" });
  await new Promise((resolve) => setTimeout(resolve, 500));
  const second = new Client();
  second.connection.once("connect", () => second.connection.cancel(client.processID, client.secretKey));
  second.connection.connect(second.port, second.host);
  await canceled;
  assert.deepStrictEqual((await client.query("SELECT true AS there")).rows, [{ there: true }]);
}

async function main() {
  const client = await connect();
  console.log("connect");
  await readTypes(client);
  console.log("text");
  await readBinary(client);
  console.log("binary");
  for (const step of [parameters, failure, block, cursor, subscribe, cancel]) {
    await step(client);
    console.log(step.name);
  }
  await client.end();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
