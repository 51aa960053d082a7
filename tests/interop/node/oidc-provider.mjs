// A real OpenID provider for single sign-on to Jeton's pages, with the pages of its own on which people sign in.
//
// node oidc-provider.mjs PORT REDIRECT_URI, with the client's secret in OIDC_CLIENT_SECRET. It prints its issuer once
// it listens. Whoever types `ada`, `grace` or `eve` there, with any password, is that person.

import { generateKeyPairSync } from 'node:crypto';

import { Provider } from 'oidc-provider';

const [port, redirectUri] = process.argv.slice(2);
// Not 127.0.0.1, where Jeton is: cookies know hosts, no ports.
const issuer = `http://localhost:${port}`;

const people = {
  ada: { preferred_username: 'ada@example.test', groups: ['staff', 'platform'] },
  grace: { preferred_username: 'grace@example.test', groups: ['staff', 'audit'] },
  eve: { preferred_username: 'eve@example.test', groups: ['staff'] },
};

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });

const provider = new Provider(issuer, {
  claims: { openid: ['sub'], profile: ['preferred_username'], groups: ['groups'] },
  clients: [
    {
      client_id: 'jeton',
      client_secret: process.env.OIDC_CLIENT_SECRET,
      grant_types: ['authorization_code'],
      redirect_uris: [redirectUri],
      response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_basic',
    },
  ],
  cookies: { keys: ['of this test alone'] },
  features: { devInteractions: { enabled: true } },
  findAccount: (_context, id) =>
    people[id] && { accountId: id, claims: () => ({ sub: id, ...people[id] }) },
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256' }] },
  pkce: { required: () => true },
});

provider.listen(Number(port), '127.0.0.1', () => console.log(issuer));
