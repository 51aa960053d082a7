// node verifier.mjs ISSUER JWKS_URI CACHE_MILLISECONDS LEEWAY_SECONDS
//
// jose as a resource server: each line on standard input is a token with the audience and the algorithm that are
// expected; each line on standard output says why it is refused, or null.

import { createInterface } from 'node:readline'

import { createRemoteJWKSet, jwtVerify } from 'jose'

const [issuer, jwksUri, cacheMaxAge, clockTolerance] = process.argv.slice(2)
const keys = createRemoteJWKSet(new URL(jwksUri), { cacheMaxAge: Number(cacheMaxAge) })

for await (const line of createInterface({ input: process.stdin })) {
  const { token, audience, algorithm } = JSON.parse(line)
  let refused = null
  try {
    await jwtVerify(token, keys, {
      issuer,
      audience,
      algorithms: [algorithm],
      clockTolerance: Number(clockTolerance),
    })
  } catch (error) {
    refused = `${error.code ?? error.name}: ${error.message}`
  }
  console.log(JSON.stringify({ refused }))
}
