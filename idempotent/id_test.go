package idempotent_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"encoding"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
)

// bytesValue has the methods of ID, Token and Fingerprint.
type bytesValue interface {
	fmt.Stringer
	driver.Valuer
	encoding.TextMarshaler
}

type bytesPointer interface {
	bytesValue
	sql.Scanner
	encoding.TextUnmarshaler
}

// byteTypes are the three types, with functions that return the value of countingBytes.
var byteTypes = map[string]struct {
	size int
	make func() bytesPointer
}{
	"ID":          {32, func() bytesPointer { v := idempotent.ID(countingBytes()); return &v }},
	"Token":       {16, func() bytesPointer { v := idempotent.Token(countingBytes()[:16]); return &v }},
	"Fingerprint": {32, func() bytesPointer { v := idempotent.Fingerprint(countingBytes()); return &v }},
}

func countingBytes() []byte {
	b := make([]byte, 32)
	for i := range b {
		b[i] = byte(0xf0 + i)
	}
	return b
}

const countingHex = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f"

// zero returns a pointer to a zero value of the type that v points to.
func zero(v bytesPointer) bytesPointer {
	return reflect.New(reflect.TypeOf(v).Elem()).Interface().(bytesPointer)
}

func TestIDsAreWrittenAndReadBack(t *testing.T) {
	t.Parallel()
	for name, c := range byteTypes {
		v := c.make()
		require.Equal(t, countingHex[:2*c.size], v.String(), name)

		column, err := v.Value()
		require.NoError(t, err, name)
		require.Equal(t, countingBytes()[:c.size], column, name)
		require.True(t, driver.IsValue(column), name)
		scanned := zero(v)
		require.NoError(t, scanned.Scan(column), name)
		require.Equal(t, v, scanned, name)

		text, err := v.MarshalText()
		require.NoError(t, err, name)
		require.Equal(t, v.String(), string(text), name)
		for _, text := range []string{string(text), strings.ToUpper(string(text))} {
			read := zero(v)
			require.NoError(t, read.UnmarshalText([]byte(text)), name)
			require.Equal(t, v, read, name)
		}

		encoded, err := json.Marshal(v)
		require.NoError(t, err, name)
		require.Equal(t, `"`+v.String()+`"`, string(encoded), name)
	}
}

// Drivers keep the result of Value, and reuse the argument of Scan.
func TestIDsShareNoBytes(t *testing.T) {
	t.Parallel()
	for name, c := range byteTypes {
		v := c.make()
		column, err := v.Value()
		require.NoError(t, err, name)
		clear(column.([]byte))
		require.Equal(t, c.make(), v, name)

		row := countingBytes()[:c.size]
		scanned := zero(v)
		require.NoError(t, scanned.Scan(row), name)
		clear(row)
		require.Equal(t, v, scanned, name)
	}
}

func TestInvalidIDsAreErrors(t *testing.T) {
	t.Parallel()
	for name, c := range byteTypes {
		full := countingBytes()[:c.size]
		for what, src := range map[string]any{
			"NULL":      nil,
			"text":      string(full),
			"number":    int64(1),
			"nothing":   []byte{},
			"nil bytes": []byte(nil),
			"too short": full[1:],
			"too long":  append(slices.Clip(full), 0),
			"hex":       []byte(countingHex[:2*c.size]),
			"array":     [32]byte{},
		} {
			v := c.make()
			err := v.Scan(src)
			if b, ok := src.([]byte); ok {
				require.EqualError(t, err, fmt.Sprintf("idempotent: cannot scan %d bytes: want %d", len(b), c.size), what)
			} else {
				require.EqualError(t, err, fmt.Sprintf("idempotent: cannot scan a %T: want %d bytes", src, c.size), what)
			}
			require.Equal(t, c.make(), v, "%s: %s", name, what)
		}
		text := strings.Repeat("0", 2*c.size)
		for what, src := range map[string]string{
			"nothing":         "",
			"too short":       text[2:],
			"odd":             text[1:],
			"one more":        text + "0",
			"too long":        text + "00",
			"first character": "g" + text[1:],
			"last character":  text[1:] + "g",
			"space":           " " + text[1:],
			"prefix":          "0x" + text[2:],
			"raw bytes":       string(full),
		} {
			v := c.make()
			require.ErrorContains(t, v.UnmarshalText([]byte(src)), "idempotent: ", "%s: %s", name, what)
			require.Equal(t, c.make(), v, "%s: %s", name, what)
		}
	}
}

func TestTokensAreRandom(t *testing.T) {
	t.Parallel()
	seen := make(map[idempotent.Token]bool)
	var ones [16]byte
	for range 100 {
		token := idempotent.NewToken()
		require.False(t, seen[token])
		seen[token] = true
		for i := range ones {
			ones[i] |= token[i]
		}
	}
	require.NotContains(t, ones, byte(0), "every byte is used")
}

func TestIDDependsOnEveryPart(t *testing.T) {
	t.Parallel()
	type call struct{ namespace, secret, principal, key string }
	of := func(c call) idempotent.ID {
		o := &idempotent.Options{Namespace: c.namespace, Secret: []byte(c.secret)}
		return o.ID(c.principal, c.key)
	}
	seen := make(map[idempotent.ID]call)
	for _, c := range []call{
		{"", "", "p", "k"},
		{"", "", "k", "p"},
		{"", "", "pk", ""},
		{"", "", "", "pk"},
		{"", "", "p\x00k", ""},
		{"", "", "p", "k\x00"},
		{"", "", "P", "k"},
		{"n", "", "p", "k"},
		{"np", "", "", "k"},
		{"", "", "np", "k"},
		{"p", "", "k", ""},
		{"", "s", "p", "k"},
		{"", "t", "p", "k"},
		{"n", "s", "p", "k"},
		{"s", "n", "p", "k"},
		{"ns", "", "p", "k"},
		{"", "ns", "p", "k"},
		{"", "s", "pk", ""},
		{"", "", idempotent.GlobalPrincipal, "k"},
	} {
		id := of(c)
		require.NotContains(t, seen, id, "%q and %q", c, seen[id])
		require.NotContains(t, id.String(), "00000000")
		seen[id] = c
	}

	var none *idempotent.Options
	require.Equal(t, of(call{"", "", "p", "k"}), none.ID("p", "k"), "nil options are the defaults")
	require.Equal(t, none.ID("p", "k"), (&idempotent.Options{Secret: []byte{}}).ID("p", "k"), "an empty secret is none")
}

// guesses returns the IDs and derived keys that someone can compute who does not know the secret.
func guesses(namespace, principal, key, name string) map[string]bool {
	found := map[string]bool{}
	hash := func(parts ...string) [32]byte {
		var b []byte
		for _, p := range parts {
			b = append(binary.BigEndian.AppendUint64(b, uint64(len(p))), p...)
		}
		sum := sha256.Sum256(b)
		found[hex.EncodeToString(sum[:])] = true
		found[base64.RawURLEncoding.EncodeToString(sum[:24])] = true
		return sum
	}
	id := hash("id", namespace, principal, key)
	hash("derived", string(id[:]), name)
	hash("scope", namespace, principal)
	return found
}

// With a secret, no ID that is logged or passed on confirms a guessed key.
func TestSecretMakesIDsUnpredictable(t *testing.T) {
	t.Parallel()
	const namespace, principal, key, name = "shop", "customer-1", "order-48213", "charge"
	told := func(secret string) (all []string) {
		var log logBuffer
		var events eventLog
		o := &idempotent.Options{
			Namespace: namespace, Secret: []byte(secret), Observe: events.observe, Logger: log.logger(),
		}
		g := idempotent.NewGuard(memory(), o)
		_, err := idempotent.Do(t.Context(), g, idempotent.Call{Principal: principal, Key: key}, func(ctx context.Context) (int, error) {
			owner, _ := idempotent.OwnerOf(ctx)
			all = append(all, owner.ID.String(), idempotent.DerivedKey(ctx, name))
			require.NoError(t, idempotent.BeginEffect(ctx))
			return 0, errDown
		})
		require.ErrorIs(t, err, errDown)
		e := events.last()
		require.Contains(t, log.String(), "idempotency_id="+e.ID.String())
		return append(all, o.ID(principal, key).String(), e.ID.String(), e.Scope.String())
	}
	guessed := guesses(namespace, principal, key, name)
	plain, one, other := told(""), told("secret"), told("another secret")
	for i := range plain {
		require.True(t, guessed[plain[i]], "guess %d", i)
		require.False(t, guessed[one[i]], i)
		require.NotEqual(t, one[i], other[i], i)
		require.NotContains(t, one[i], key)
	}
	require.Equal(t, one, told("secret"), "in every process")
	require.Equal(t, one[0], one[2])
	require.Equal(t, one[0], one[3])
}
