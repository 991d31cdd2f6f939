import Fastify from 'fastify'
import pg from 'pg'

const { PORT, DATABASE_URL } = process.env

const COLUMNS = `id, title, description, completed, priority, tags, due_at, timezone, recurrence, "order",
  completed_at, created_at, updated_at, deleted_at, next_id, version`

const LIST = {
  name: 'list',
  text: `SELECT ${COLUMNS} FROM todo WHERE user_id = $1 AND deleted_at IS NULL
    ORDER BY created_at DESC, id DESC LIMIT $2`,
}

const CREATE = {
  name: 'create',
  text: `INSERT INTO todo (user_id, id, title, description, completed, priority, tags, due_at, timezone, "order",
      created_at, updated_at, version)
    VALUES ($1, gen_random_uuid(), $2, $3, false, $4, $5, $6, $7, $8, now(), now(), 1) RETURNING ${COLUMNS}`,
}

const text = { type: 'string' }
const moment = { type: ['string', 'null'], format: 'date-time' }
const todo = {
  type: 'object',
  properties: {
    id: text,
    title: text,
    description: text,
    completed: { type: 'boolean' },
    priority: { type: 'integer' },
    tags: { type: 'array', items: text },
    due_at: moment,
    timezone: text,
    recurrence: { type: ['string', 'null'] },
    order: { type: 'integer' },
    completed_at: moment,
    created_at: { type: 'string', format: 'date-time' },
    updated_at: { type: 'string', format: 'date-time' },
    deleted_at: moment,
    next_id: { type: ['string', 'null'] },
    version: { type: 'integer' },
  },
}
const newTodo = {
  type: 'object',
  required: ['title'],
  additionalProperties: false,
  properties: {
    title: { type: 'string', minLength: 1, maxLength: 200 },
    description: { type: 'string', maxLength: 10_000, default: '' },
    priority: { type: 'integer', minimum: 0, maximum: 4, default: 0 },
    tags: { type: 'array', items: text, maxItems: 20, default: [] },
    due_at: { ...moment, default: null },
    timezone: { type: 'string', default: 'UTC' },
    order: { type: 'integer', default: 0 },
  },
}
const caller = { type: 'object', required: ['x-user-id'], properties: { 'x-user-id': text } }
const page = { type: 'object', properties: { limit: { type: 'integer', minimum: 1, maximum: 100, default: 20 } } }

const app = Fastify()
const pool = new pg.Pool({ connectionString: DATABASE_URL, max: 10 })

app.get(
  '/v1/todos',
  { schema: { headers: caller, querystring: page, response: { 200: { type: 'array', items: todo } } } },
  async (request) => {
    const { rows } = await pool.query({ ...LIST, values: [request.headers['x-user-id'], request.query.limit] })
    return rows
  },
)

app.post('/v1/todos', { schema: { headers: caller, body: newTodo, response: { 201: todo } } }, async (request, reply) => {
  const { title, description, priority, tags, due_at, timezone, order } = request.body
  const values = [request.headers['x-user-id'], title, description, priority, tags, due_at, timezone, order]
  const { rows } = await pool.query({ ...CREATE, values })
  return reply.code(201).send(rows[0])
})

await app.listen({ host: '127.0.0.1', port: Number(PORT) })
