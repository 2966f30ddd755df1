package redislimit_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

func TestRedisKey(t *testing.T) {
	t.Parallel()
	key := func(o redislimit.Options) string {
		return redislimit.NewRunner(new(runner), &o).RedisKey("default", "k")
	}
	plain, secret := key(redislimit.Options{}), key(redislimit.Options{Secret: []byte("s")})
	require.Regexp(t, `^ratelimit:\{[\w-]{22}\}:default$`, plain)
	require.Regexp(t, `^ratelimit:\{[\w-]{22}\}:default$`, secret)
	require.NotEqual(t, plain, secret)
	require.Equal(t, secret, key(redislimit.Options{Secret: []byte("s")}))
	require.NotEqual(t, secret, key(redislimit.Options{Secret: []byte("t")}))
	require.Regexp(t, `^p:\{limits\}[\w-]{22}:default$`, key(redislimit.Options{Prefix: "p:", HashTag: "limits"}))
}
