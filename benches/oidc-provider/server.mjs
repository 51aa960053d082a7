// The peer that scripts/bench measures Jeton against: one client, client_credentials, ES256 JWT access tokens.
// It records nothing: a JWT access token is not stored, and there are no logs.
//
// node server.mjs PORT, with the client in BENCH_CLIENT_ID and BENCH_CLIENT_SECRET.

import { generateKeyPairSync } from 'node:crypto';

import { Provider } from 'oidc-provider';

const port = Number(process.argv[2]);
const AUDIENCE = 'https://orders.example.com';

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const signingKey = { ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'ES256' };

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: process.env.BENCH_CLIENT_ID,
      client_secret: process.env.BENCH_CLIENT_SECRET,
      grant_types: ['client_credentials'],
      id_token_signed_response_alg: 'ES256',
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: 'client_secret_basic',
    },
  ],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => AUDIENCE,
      getResourceServerInfo: () => ({
        audience: AUDIENCE,
        scope: 'orders:read',
        accessTokenFormat: 'jwt',
        accessTokenTTL: 300,
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
  jwks: { keys: [signingKey] },
  routes: { token: '/oauth2/token' },
  ttl: { ClientCredentials: 300 },
});

provider.listen(port, '127.0.0.1');
