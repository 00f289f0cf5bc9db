// A peer in JavaScript: the three endpoints on Fastify, two processes. DATABASE is a file for better-sqlite3, or a URL for node-postgres.
import cluster from 'node:cluster';

const CLIENT = 'bench', KEY = 'bench-key-0123456789', TENANT = 1, PROCESSES = 2;

const INSERT = 'INSERT INTO call_data (tenant_id, call_id, caller, received_at, fields) VALUES ($1, $2, $3, $4, $5)';
const NEWEST = `SELECT received_at, fields FROM call_data WHERE tenant_id = $1 AND caller = $2 AND call_id = $3 AND received_at >= $4
  ORDER BY received_at DESC LIMIT 1`;
const TOTAL = 'SELECT count(*) AS total FROM record WHERE tenant_id = $1 AND mobile = $2';
const PAGE = 'SELECT doc FROM record WHERE tenant_id = $1 AND mobile = $2 ORDER BY start_time DESC, id DESC LIMIT $3 OFFSET $4';

async function onSqlite(file) {
  const { default: Database } = await import('better-sqlite3');
  const database = new Database(file, { timeout: 20_000 });
  for (const setting of ['journal_mode = WAL', 'synchronous = FULL', 'cache_size = -65536', 'mmap_size = 1073741824']) {
    database.pragma(setting);
  }
  const prepare = (text) => database.prepare(text.replace(/\$\d/g, '?'));
  const [insert, newest, total, page] = [INSERT, NEWEST, TOTAL, PAGE].map(prepare);
  return {
    insert: (...values) => insert.run(...values),
    newest: (...values) => newest.get(...values),
    total: (...values) => total.get(...values).total,
    page: (...values) => page.all(...values),
  };
}

async function onPostgres(connectionString) {
  const { default: pg } = await import('pg');
  const pool = new pg.Pool({ connectionString, max: 10 });
  // A statement with a name is prepared once on each connection.
  const prepare = (name, text) => async (...values) => (await pool.query({ name, text, values })).rows;
  const newest = prepare('newest', NEWEST), total = prepare('total', TOTAL);
  return {
    insert: prepare('insert', INSERT),
    newest: async (...values) => (await newest(...values))[0],
    total: async (...values) => Number((await total(...values))[0].total),
    page: prepare('page', PAGE),
  };
}

// A phone number by which callers can be compared.
function plainNumber(number) {
  const digits = number.replace(/\D+/g, '');
  if (number.trimStart().startsWith('+')) return `+${digits}`;
  if (digits.startsWith('00')) return `+${digits.slice(2)}`;
  return digits.startsWith('0') ? `+49${digits.slice(1)}` : `+${digits}`;
}

const known = (client, key) => client === CLIENT && key === KEY;

async function serve() {
  const { default: Fastify } = await import('fastify');
  const place = process.env.DATABASE;
  const store = await (place.startsWith('postgres://') ? onPostgres(place) : onSqlite(place));
  const app = Fastify();

  app.post('/api/CallData', async (request, reply) => {
    if (!known(request.query.clientId, request.query.code)) return reply.code(401).send({});
    const { callerid, callid, ...rest } = request.body?.input ?? {};
    if (typeof callerid !== 'string' || typeof callid !== 'string') {
      return { choice: 'fail', output: { error: 'Required Attributes: callid, callerid' } };
    }
    await store.insert(TENANT, callid, plainNumber(callerid), Date.now(), JSON.stringify(rest));
    return { choice: 'success', output: {} };
  });

  app.get('/api/CallData', async (request, reply) => {
    const { clientId, code, callid, timeLimit } = request.query;
    if (!known(clientId, code)) return reply.code(401).send({});
    const caller = plainNumber(request.query.caller);
    const found = await store.newest(TENANT, caller, callid, Date.now() - Number(timeLimit ?? 60) * 1000);
    if (!found) return reply.code(404).send({ error: 'no result found' });
    return { caller, callid, timestamp: new Date(Number(found.received_at)).toISOString(), ...JSON.parse(found.fields) };
  });

  app.post('/oifde/rest/api/queryRecordHistory', async (request, reply) => {
    const { tenantId, authToken, userMobile, pageNum, pageSize } = request.body;
    if (!known(tenantId, authToken)) return reply.code(401).send({});
    const size = Number(pageSize ?? 100), offset = (Number(pageNum ?? 1) - 1) * size;
    const [total, records] = await Promise.all([store.total(TENANT, userMobile), store.page(TENANT, userMobile, size, offset)]);
    return { errorCode: 0, errorMsg: 'Success', total, recordList: records.map(({ doc }) => JSON.parse(doc)) };
  });

  await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT), backlog: 1024 });
}

if (cluster.isPrimary) {
  for (let number = 0; number < PROCESSES; number += 1) cluster.fork();
  process.on('SIGTERM', () => process.exit(0));
} else {
  await serve();
}
