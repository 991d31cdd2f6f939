// Better Auth as its documentation sets it up, with SQLite in memory.

import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { toNodeHandler } from "better-auth/node";
import { jwt } from "better-auth/plugins";
import { SqliteDialect } from "kysely";
import Database from "libsql";
import { randomBytes } from "node:crypto";
import { serve } from "./server.mjs";

await serve(async (url) => {
  const database = new Database(":memory:");
  const auth = betterAuth({
    baseURL: url,
    secret: randomBytes(32).toString("base64"),
    database: { dialect: new SqliteDialect({ database }), type: "sqlite" },
    emailAndPassword: { enabled: true },
    plugins: [jwt()],
    telemetry: { enabled: false },
  });
  const migrations = await getMigrations(auth.options);
  await migrations.runMigrations();
  return {
    handle: toNodeHandler(auth),
    // a key past its expiry signs no more, and stays in the set for the grace period
    rotate: () => database.prepare("UPDATE jwks SET expiresAt = ?").run(new Date().toISOString()),
  };
});
