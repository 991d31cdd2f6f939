// oidc-provider with its development log-in, one public client and one resource, whose access tokens are JWTs.

import { generateKeyPairSync, randomUUID } from "node:crypto";
import Provider from "oidc-provider";
import { serve } from "./server.mjs";

const resource = "https://todos.example.com";

function newKey() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), kid: randomUUID(), use: "sig", alg: "RS256" };
}

await serve((url) => {
  const keys = [];
  let callback;

  // the stores are the module's, so that log-ins outlive the rotation
  function rotate() {
    keys.unshift(newKey());
    const provider = new Provider(url, {
      jwks: { keys },
      clients: [
        {
          client_id: "frontend",
          redirect_uris: [`${url}/signed-in`],
          post_logout_redirect_uris: [`${url}/signed-out`],
          application_type: "native",
          token_endpoint_auth_method: "none",
        },
      ],
      features: {
        resourceIndicators: {
          enabled: true,
          getResourceServerInfo: () => ({
            audience: resource,
            scope: "todos",
            accessTokenFormat: "jwt",
            jwt: { sign: { alg: "RS256" } },
          }),
        },
      },
    });
    callback = provider.callback();
  }

  rotate();
  return { handle: (request, response) => callback(request, response), rotate };
});
