import { readFileSync } from 'node:fs'

import proxy from '@fastify/http-proxy'
import jwt from '@fastify/jwt'
import rateLimit from '@fastify/rate-limit'
import Fastify from 'fastify'
import Redis from 'ioredis'

const { PORT, ISSUER, AUDIENCE, PUBLIC_KEY, REDIS_URL, UPSTREAM_URL } = process.env

const app = Fastify()

await app.register(jwt, {
  secret: { public: readFileSync(PUBLIC_KEY, 'utf8') },
  verify: {
    algorithms: ['RS256'],
    allowedIss: ISSUER,
    allowedAud: AUDIENCE,
    requiredClaims: ['sub', 'exp'],
    cache: true,
  },
})

app.addHook('onRequest', (request) => request.jwtVerify())

await app.register(rateLimit, {
  hook: 'preHandler',
  max: 50_000_000,
  timeWindow: '1 minute',
  redis: new Redis(REDIS_URL),
  keyGenerator: (request) => request.user.sub,
})

await app.register(proxy, {
  upstream: UPSTREAM_URL,
  replyOptions: {
    rewriteRequestHeaders: (request, { authorization, ...headers }) => ({
      ...headers,
      'x-user-id': request.user.sub,
    }),
  },
})

await app.listen({ host: '127.0.0.1', port: Number(PORT) })
