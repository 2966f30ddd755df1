package redislimit

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
)

// keys makes the Redis keys of buckets: a prefix, a hash of the caller's key, and the rule. The
// caller's key itself never reaches Redis.
type keys struct {
	prefix string
	tag    string
	secret []byte
}

func newKeys(o *Options) keys {
	return keys{prefix: cmp.Or(o.Prefix, "ratelimit:"), tag: o.HashTag, secret: o.Secret}
}

// of returns a Redis key such as "ratelimit:{pmWkWSBCL51Bfkhn79xPuA}:default". The braces are
// the hash tag of a Cluster, so the buckets of one caller have one hash slot.
func (k keys) of(rule, key string) string {
	hash := k.hash(key)
	if k.tag != "" {
		return k.prefix + "{" + k.tag + "}" + hash + ":" + rule
	}
	return k.prefix + "{" + hash + "}:" + rule
}

// hash returns 128 bits of a hash of a caller's key, in 22 characters.
func (k keys) hash(key string) string {
	var sum [sha256.Size]byte
	if len(k.secret) == 0 {
		sum = sha256.Sum256([]byte(key))
	} else {
		h := hmac.New(sha256.New, k.secret)
		h.Write([]byte(key))
		h.Sum(sum[:0])
	}
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
