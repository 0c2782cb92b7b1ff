// JSON Web Tokens: whose they are. jose checks them against the issuer's key.

import type { JSONWebKeySet } from "jose";
import { JOSEError, JWKSMultipleMatchingKeys, JWKSNoMatchingKey } from "jose/errors";
import { createLocalJWKSet } from "jose/jwks/local";
import { createRemoteJWKSet, customFetch } from "jose/jwks/remote";
import { jwtVerify } from "jose/jwt/verify";
import type { JWTVerifyGetKey } from "jose/jwt/verify";
import { importSPKI } from "jose/key/import";

import type { JWTAccess } from "./core.ts";
import { keysCooldownMS, log } from "./env.ts";
import type { Env } from "./env.ts";
import { Refusal } from "./refusal.ts";
import { reveal } from "./secrets.ts";

const toleranceS = 30; // between the issuer's clock and ours
const fetchTimeoutMS = 3_000;
const maxAgeMS = 10 * 60_000; // of a key set
const leastSecretBytes = 32; // RFC 7518, 3.2
const longestUser = 512;
const maxSets = 100;

/** A token's bearer. */
export interface Bearer {
  user: string;
  expiresAt: number; // epoch milliseconds
}

/** Throws a Refusal: 401 says what is wrong with the token, 503 that it could not be checked. */
export async function verify(env: Env, rules: JWTAccess, token: string): Promise<Bearer> {
  const { keys, algorithms } = rules.jwks ? issuerKeys(env, rules) : ownKey(env, rules);
  const options = {
    algorithms,
    issuer: rules.issuer || undefined,
    audience: rules.audience || undefined,
    clockTolerance: toleranceS,
    requiredClaims: ["exp"],
  };
  try {
    const { payload } = await jwtVerify(token, keys, options).catch((error: unknown) =>
      error instanceof JWKSMultipleMatchingKeys ? tryEach(error, token, options) : Promise.reject(error),
    );
    return { user: userOf(payload[rules.user], rules.user), expiresAt: (payload.exp ?? 0) * 1_000 };
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw refused(reasonOf(error));
  }
}

const refused = (why: string) => new Refusal(401, `the JWT is refused: ${why}`, { "www-authenticate": "Bearer" });

/** A token that names no key, where the set holds several. */
async function tryEach(several: JWKSMultipleMatchingKeys, token: string, options: Parameters<typeof jwtVerify>[2]) {
  let last: unknown = several;
  for await (const key of several) {
    try {
      return await jwtVerify(token, key, options);
    } catch (error) {
      last = error;
    }
  }
  throw last;
}

function userOf(claim: unknown, name: string): string {
  const user = typeof claim === "number" ? String(claim) : claim;
  // A control character would end a field of what the core is asked.
  if (typeof user === "string" && user !== "" && user.length <= longestUser && !/[\x00-\x1f\x7f]/.test(user))
    return user;
  throw refused(`its claim ${name} is no user ID`);
}

/** What jose found, in words that repeat nothing of the token. */
function reasonOf(error: unknown): string {
  if (!(error instanceof JOSEError)) return "it cannot be read";
  const claim = "claim" in error ? String(error.claim) : "";
  switch (error.code) {
    case "ERR_JWT_EXPIRED":
      return "it has expired";
    case "ERR_JWT_CLAIM_VALIDATION_FAILED":
      return claim === "nbf" ? "it is not valid yet" : `its claim ${claim} is missing or not the one that is wanted`;
    case "ERR_JOSE_ALG_NOT_ALLOWED":
      return "its algorithm is not allowed here";
    case "ERR_JWS_SIGNATURE_VERIFICATION_FAILED":
      return "its signature is wrong";
    case "ERR_JWKS_NO_MATCHING_KEY":
      return "the issuer has no such key";
  }
  return "it cannot be read";
}

/**
 * The key that a secret holds. A PEM is never taken for the secret of an HMAC:
 * it is public, and whoever knows it could sign.
 */
function ownKey(env: Env, rules: JWTAccess): { keys: JWTVerifyGetKey; algorithms: string[] } {
  const text = reveal(env, rules.key, "checking a JWT");
  const isPublic = text.startsWith("-----BEGIN");
  const algorithms = rules.algorithms.filter((name) => (name === "HS256") !== isPublic);
  const secret = new TextEncoder().encode(text);
  if (algorithms.length === 0 || (!isPublic && secret.length < leastSecretBytes)) {
    log("secret", {
      what: "jwt.key",
      trouble: isPublic ? "no HMAC secret" : `no PEM, nor ${leastSecretBytes} bytes of secret`,
    });
    throw new Refusal(503, unfit);
  }
  return { algorithms, keys: ({ alg = "" }) => (isPublic ? publicKey(text, alg, algorithms) : secret) };
}

const unfit = "checking a JWT needs a key that fits its algorithms";

const publicKeys = new Map<string, CryptoKey>();

async function publicKey(pem: string, algorithm: string, algorithms: string[]): Promise<CryptoKey> {
  const name = `${algorithm} ${pem}`;
  const known = publicKeys.get(name);
  if (known) return known;
  try {
    const key = await importSPKI(pem, algorithm);
    if (publicKeys.size < maxSets) publicKeys.set(name, key);
    return key;
  } catch {
    if (algorithms.length > 1) throw refused("its algorithm is not that of the key");
    log("secret", { what: "jwt.key", trouble: `no PUBLIC KEY in PEM for ${algorithm}` });
    throw new Refusal(503, unfit);
  }
}

const sets = new Map<string, JWTVerifyGetKey>();

/** The issuer's key set, kept by this isolate. */
function issuerKeys(env: Env, rules: JWTAccess): { keys: JWTVerifyGetKey; algorithms: string[] } {
  let keys = sets.get(rules.jwks);
  if (keys === undefined) {
    if (sets.size >= maxSets) sets.clear();
    keys = keySet(rules.jwks, keysCooldownMS(env));
    sets.set(rules.jwks, keys);
  }
  return { keys, algorithms: rules.algorithms };
}

/**
 * jose's remote set, and what it lacks while the issuer is away: the keys that
 * are known go on working, and nobody's token makes a call in the cool-down.
 */
function keySet(url: string, cooldownMS: number): JWTVerifyGetKey {
  let quietUntil = 0;
  const remote = createRemoteJWKSet(new URL(url), {
    timeoutDuration: fetchTimeoutMS,
    cooldownDuration: cooldownMS,
    cacheMaxAge: maxAgeMS,
    [customFetch]: (input, init) => {
      if (Date.now() < quietUntil) throw new Error("it failed a moment ago");
      return fetch(input, init);
    },
  });
  return async (header, token) => {
    try {
      return await remote(header, token);
    } catch (error) {
      if (error instanceof JWKSNoMatchingKey || error instanceof JWKSMultipleMatchingKeys) throw error;
      if (Date.now() >= quietUntil) {
        quietUntil = Date.now() + cooldownMS;
        log("jwks", { url, error: String(error) });
      }
      return knownKey(remote.jwks(), header, token);
    }
  };
}

async function knownKey(set: JSONWebKeySet | undefined, ...token: Parameters<JWTVerifyGetKey>) {
  try {
    if (set) return await createLocalJWKSet(set)(...token);
  } catch (error) {
    if (!(error instanceof JWKSNoMatchingKey)) throw error;
  }
  throw new Refusal(503, "the issuer's keys cannot be fetched, so the JWT cannot be checked");
}
