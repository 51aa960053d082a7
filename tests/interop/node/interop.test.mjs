// openid-client as the client, jose as resource servers.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { before, test } from 'node:test'

import * as jose from 'jose'
import * as openid from 'openid-client'

const ORDERS = 'https://orders.example.test'
const INVOICES = 'https://invoices.example.test'
const CLOUD = 'sts.cloud.example.test'

// tests/interop/run hands these over.
const issuer = process.env.JETON_TEST_ISSUER
const clientId = process.env.JETON_TEST_CLIENT_ID
const clientSecret = process.env.JETON_TEST_CLIENT_SECRET

const METHODS = {
  client_secret_basic: openid.ClientSecretBasic,
  client_secret_post: openid.ClientSecretPost,
}

// Finds the server by its metadata: OpenID Connect's by default, RFC 8414's with `algorithm: 'oauth2'`.
function discover({ authentication = openid.ClientSecretBasic(clientSecret), algorithm = 'oidc' } = {}) {
  return openid.discovery(new URL(issuer), clientId, undefined, authentication, {
    algorithm,
    // Plain http, which the library refuses by itself; the server under test is on loopback.
    execute: [openid.allowInsecureRequests],
  })
}

let config
let keys

before(async () => {
  config = await discover()
  keys = jose.createRemoteJWKSet(new URL(config.serverMetadata().jwks_uri))
})

// What a resource server does with jose: the key by `kid` from the published set, then the claims.
function verify(token, audience, algorithm, typ = 'at+jwt') {
  return jose.jwtVerify(token, keys, {
    issuer,
    audience,
    typ,
    algorithms: [algorithm],
    requiredClaims: ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti'],
  })
}

for (const [method, authenticate] of Object.entries(METHODS)) {
  for (const algorithm of ['oidc', 'oauth2']) {
    test(`a token by ${method}, discovered by ${algorithm}, is verified with ES256`, async () => {
      const config = await discover({ authentication: authenticate(clientSecret), algorithm })
      assert.ok(config.serverMetadata().token_endpoint_auth_methods_supported.includes(method))

      const answer = await openid.clientCredentialsGrant(config, { scope: 'orders:read' })
      assert.equal(answer.token_type, 'bearer') // as the library normalizes it
      assert.equal(answer.expires_in, 300)

      const { payload } = await verify(answer.access_token, ORDERS, 'ES256')
      assert.equal(payload.aud, ORDERS)
      assert.equal(payload.scope, 'orders:read')
      assert.deepEqual(payload.roles, ['order-reader'])
      assert.equal(payload.client_id, clientId)
      assert.equal(payload.sub, clientId)
      assert.equal(payload.exp - payload.iat, 300)
    })
  }
}

test('a token asked by resource is verified with RS256', async () => {
  const answer = await openid.clientCredentialsGrant(config, { resource: INVOICES })
  assert.equal(answer.expires_in, 120)

  const { payload } = await verify(answer.access_token, INVOICES, 'RS256')
  assert.equal(payload.scope, 'invoices:read')
  assert.deepEqual(payload.roles, ['invoice-reader'])
  assert.equal(payload.exp - payload.iat, 120)
})

test('a resource server may ask for plain JWTs', async () => {
  const answer = await openid.clientCredentialsGrant(config, { audience: CLOUD })
  const { payload } = await verify(answer.access_token, CLOUD, 'ES256', 'JWT')
  assert.deepEqual(payload.roles, ['cloud-user'])
  assert.ok(!('scope' in payload))
})

test('jose refuses a token for another audience', async () => {
  const { access_token: token } = await openid.clientCredentialsGrant(config, { resource: ORDERS })
  await assert.rejects(verify(token, INVOICES, 'ES256'), { code: 'ERR_JWT_CLAIM_VALIDATION_FAILED', claim: 'aud' })
})

test('jose refuses an access token where another kind of JWT is expected', async () => {
  const { access_token: token } = await openid.clientCredentialsGrant(config, { resource: ORDERS })
  await assert.rejects(verify(token, ORDERS, 'ES256', 'JWT'), { code: 'ERR_JWT_CLAIM_VALIDATION_FAILED', claim: 'typ' })
})

for (const [method, authenticate] of Object.entries(METHODS)) {
  test(`a wrong secret by ${method} is invalid_client, with a challenge`, async () => {
    const config = await discover({ authentication: authenticate('wrong') })
    const error = await openid.clientCredentialsGrant(config, { resource: ORDERS }).catch((error) => error)
    // RFC 6749 §5.2 asks for the challenge, and the library looks at it before the body.
    assert.ok(error instanceof openid.WWWAuthenticateChallengeError)
    assert.equal(error.status, 401)
    assert.equal(error.cause[0].scheme, 'basic')
    assert.equal((await error.response.json()).error, 'invalid_client')
  })
}

test('a permission the client does not have is invalid_scope', async () => {
  await assert.rejects(openid.clientCredentialsGrant(config, { scope: 'orders:write' }), { error: 'invalid_scope', status: 400 })
})

test('an unknown resource is invalid_target', async () => {
  const resource = 'https://unknown.example.test'
  await assert.rejects(openid.clientCredentialsGrant(config, { resource }), { error: 'invalid_target', status: 400 })
})

const SIGNATURES = { ES256: 'ec', RS256: 'rsa', PS256: 'rsa', Ed25519: 'ed' }

async function privateKey(algorithm) {
  return jose.importPKCS8(await readFile(`${process.env.JETON_TEST_KEYS}/${SIGNATURES[algorithm]}.pem`, 'utf8'), algorithm)
}

// Finds the server as the client that signs.
function discoverSigner(authentication) {
  return openid.discovery(new URL(issuer), 'signer', undefined, authentication, { execute: [openid.allowInsecureRequests] })
}

for (const algorithm of Object.keys(SIGNATURES)) {
  test(`a token by private_key_jwt with ${algorithm}`, async () => {
    const config = await discoverSigner(openid.PrivateKeyJwt(await privateKey(algorithm)))
    const answer = await openid.clientCredentialsGrant(config, { resource: ORDERS })
    const { payload } = await verify(answer.access_token, ORDERS, 'ES256')
    assert.equal(payload.client_id, 'signer')
  })
}

test('an assertion that says what it is (RFC 10070) is taken', async () => {
  const typed = (header) => {
    header.typ = 'client-authentication+jwt'
  }
  const authentication = openid.PrivateKeyJwt(await privateKey('ES256'), { [openid.modifyAssertion]: typed })
  const config = await discoverSigner(authentication)
  assert.ok((await openid.clientCredentialsGrant(config, { resource: ORDERS })).access_token)
})

test('the signature of another key is invalid_client', async () => {
  const { privateKey } = await jose.generateKeyPair('ES256')
  const config = await discoverSigner(openid.PrivateKeyJwt(privateKey))
  const error = await openid.clientCredentialsGrant(config, { resource: ORDERS }).catch((error) => error)
  assert.ok(error instanceof openid.WWWAuthenticateChallengeError)
  assert.equal((await error.response.json()).error, 'invalid_client')
})
