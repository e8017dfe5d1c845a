-- check-token: whether a token was revoked: by itself, with its session, or with all of its user's.
--
-- KEYS[1] tokenGeneration · KEYS[2] revokedSession · KEYS[3] revokedToken
-- ARGV[1] generation  the token's own
--
-- Result: "revoked" or "good"

--@include token-revoked

return tokenRevoked(KEYS[1], KEYS[2], KEYS[3], ARGV[1]) and 'revoked' or 'good'
