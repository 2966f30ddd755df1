package ratelimit_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/ratelimit"
)

// prefixes reads prefixes; "" is the zero one.
func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		p := netip.Prefix{}
		if s != "" {
			p = netip.MustParsePrefix(s)
		}
		out = append(out, p)
	}
	return out
}

// The proxies of these tests are 10.0.0.0/8 and 2001:db8:a::/48; the one that the server sees is 10.0.0.1.
var proxies = prefixes("10.0.0.0/8", "2001:db8:a::/48")

func TestByForwardedFor(t *testing.T) {
	t.Parallel()
	for group, rows := range map[string][]struct {
		name  string
		peer  string
		lines []string
		want  string
	}{
		"as it should be": {
			{"one proxy", "10.0.0.1:1", []string{"203.0.113.9"}, "203.0.113.9"},
			{"two proxies", "10.0.0.1:1", []string{"203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
			{"two proxies, two lines", "10.0.0.1:1", []string{"203.0.113.9", "10.0.0.2"}, "203.0.113.9"},
			{"no header", "10.0.0.1:1", nil, "10.0.0.1"},
			{"all are proxies", "10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
			{"an IPv6 proxy", "[2001:db8:a::1]:1", []string{"203.0.113.9"}, "203.0.113.9"},
		},
		"a client that is not behind a proxy": {
			{"claims another address", "203.0.113.9:1", []string{"198.51.100.1"}, "203.0.113.9"},
			{"claims a proxy's", "203.0.113.9:1", []string{"10.0.0.1"}, "203.0.113.9"},
		},
		"a client that writes further to the left": {
			{"another address", "10.0.0.1:1", []string{"198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
			{"on a line of its own", "10.0.0.1:1", []string{"198.51.100.1", "203.0.113.9"}, "203.0.113.9"},
			{"a proxy's address", "10.0.0.1:1", []string{"198.51.100.1, 10.0.0.7, 203.0.113.9"}, "203.0.113.9"},
			{"rubbish", "10.0.0.1:1", []string{"\"><script>, 203.0.113.9"}, "203.0.113.9"},
			{"thousands", "10.0.0.1:1", []string{strings.Repeat("10.0.0.1,", 5000) + "203.0.113.9"}, "203.0.113.9"},
		},
		"a proxy that passes on what is no address": {
			{"unknown", "10.0.0.1:1", []string{"unknown"}, "10.0.0.1"},
			{"an empty item", "10.0.0.1:1", []string{"203.0.113.9,"}, "10.0.0.1"},
			{"an empty line", "10.0.0.1:1", []string{"203.0.113.9", ""}, "10.0.0.1"},
			{"between proxies", "10.0.0.1:1", []string{"203.0.113.9, unknown, 10.0.0.2"}, "10.0.0.2"},
			{"a host name", "10.0.0.1:1", []string{"client.example"}, "10.0.0.1"},
			{"leading zeros", "10.0.0.1:1", []string{"203.0.113.009"}, "10.0.0.1"},
			{"brackets around IPv4", "10.0.0.1:1", []string{"[203.0.113.9]"}, "10.0.0.1"},
			{"half of a bracket", "10.0.0.1:1", []string{"[2001:db8::1"}, "10.0.0.1"},
		},
		"spellings": {
			{"a port", "10.0.0.1:1", []string{"203.0.113.9:4711"}, "203.0.113.9"},
			{"spaces and tabs", "10.0.0.1:1", []string{" 203.0.113.9\t,\t10.0.0.2 "}, "203.0.113.9"},
			{"IPv6", "10.0.0.1:1", []string{"2001:db8::1"}, "2001:db8::/64"},
			{"IPv6 in brackets", "10.0.0.1:1", []string{"[2001:db8::1]"}, "2001:db8::/64"},
			{"IPv6 with a port", "10.0.0.1:1", []string{"[2001:db8::1]:4711"}, "2001:db8::/64"},
			{"IPv6 with a zone", "10.0.0.1:1", []string{"fe80::1%eth0"}, "fe80::/64"},
			{"IPv6 proxy with a zone", "10.0.0.1:1", []string{"203.0.113.9, 2001:db8:a::5%eth0"}, "203.0.113.9"},
			{"IPv6 in full", "10.0.0.1:1", []string{"2001:0DB8:0:0:0:0:0:1"}, "2001:db8::/64"},
		},
		"IPv4 in IPv6 is IPv4": {
			{"the client", "10.0.0.1:1", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
			{"the client, in hexadecimal", "10.0.0.1:1", []string{"::ffff:cb00:7109"}, "203.0.113.9"},
			{"a proxy", "10.0.0.1:1", []string{"203.0.113.9, ::ffff:10.0.0.2"}, "203.0.113.9"},
			{"the peer", "[::ffff:10.0.0.1]:1", []string{"203.0.113.9"}, "203.0.113.9"},
		},
	} {
		for _, row := range rows {
			t.Run(group+"/"+row.name, func(t *testing.T) {
				t.Parallel()
				r := request()
				r.RemoteAddr = row.peer
				r.Header["X-Forwarded-For"] = row.lines
				key, err := ratelimit.ByForwardedFor(proxies...)(r)
				require.NoError(t, err)
				require.Equal(t, "addr:"+row.want, key)
			})
		}
	}
}

func TestByRemoteAddr(t *testing.T) {
	t.Parallel()
	for peer, want := range map[string]string{
		"203.0.113.9:1":             "addr:203.0.113.9",
		"203.0.113.9":               "addr:203.0.113.9",
		"[2001:db8:0:1:2:3:4:5]:1":  "addr:2001:db8:0:1::/64",
		"[fe80::1%eth0]:1":          "addr:fe80::/64",
		"[::ffff:203.0.113.9]:1":    "addr:203.0.113.9",
		"[::ffff:203.0.113.9%x]:80": "addr:203.0.113.9",
	} {
		r := request("X-Forwarded-For", "198.51.100.1")
		r.RemoteAddr = peer
		key, err := ratelimit.ByRemoteAddr(r)
		require.NoError(t, err, peer)
		require.Equal(t, want, key)
	}
}

func TestIPv6BitsAreConfigurable(t *testing.T) {
	t.Parallel()
	r := request()
	r.RemoteAddr = "[2001:db8:1:2:3:4:5:6]:1"
	for bits, want := range map[int]string{0: "2001:db8:1:2::/64", 48: "2001:db8:1::/48", 128: "2001:db8:1:2:3:4:5:6/128"} {
		key, err := ratelimit.ByAddress(&ratelimit.AddressOptions{IPv6Bits: bits})(r)
		require.NoError(t, err)
		require.Equal(t, "addr:"+want, key)
	}
}

func TestTrustedPrefixInIPv6Spelling(t *testing.T) {
	t.Parallel()
	r := request("X-Forwarded-For", "203.0.113.9")
	r.RemoteAddr = "10.0.0.1:1"
	key, err := ratelimit.ByForwardedFor(prefixes("::ffff:10.0.0.0/104")...)(r)
	require.NoError(t, err)
	require.Equal(t, "addr:203.0.113.9", key)
}

func TestLaterChangesOfTheOptionsChangeNothing(t *testing.T) {
	t.Parallel()
	trusted := prefixes("192.0.2.0/24")
	f := ratelimit.ByForwardedFor(trusted...)
	trusted[0] = netip.MustParsePrefix("198.51.100.0/24")
	key, err := f(request("X-Forwarded-For", "203.0.113.9")) // from 192.0.2.1
	require.NoError(t, err)
	require.Equal(t, "addr:203.0.113.9", key)
}

func TestPeerWithoutAnAddressIsOurFault(t *testing.T) {
	t.Parallel()
	h := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{Key: ratelimit.ByRemoteAddr})(ok)
	for _, peer := range []string{"", "@", "pipe", "[::1"} {
		r := request()
		r.RemoteAddr = peer
		require.Equal(t, http.StatusInternalServerError, serve(h, r).Code, peer)
	}
}

// FuzzForwardedFor checks against what must hold whatever a header says: no panic, an address or a /64 as the result, and that what
// stands to the left of the nearest address that is no proxy's makes no difference.
func FuzzForwardedFor(f *testing.F) {
	f.Add("10.0.0.1:1", "203.0.113.9", "198.51.100.1, 10.0.0.2")
	f.Add("[2001:db8:a::1]:443", "\"x\"", "[2001:db8::1]:80,::ffff:10.0.0.1")
	f.Add("203.0.113.9:1", "", "unknown")
	f.Add("@", ",", ",,")
	f.Fuzz(func(t *testing.T, peer, left, right string) {
		byForwardedFor := ratelimit.ByForwardedFor(proxies...)
		ask := func(lines ...string) (string, error) {
			r := request()
			r.RemoteAddr = peer
			r.Header["X-Forwarded-For"] = lines
			return byForwardedFor(r)
		}
		key, err := ask(left, right)
		if err != nil {
			require.Empty(t, key)
			return
		}
		addr, isAddr := strings.CutPrefix(key, "addr:")
		require.True(t, isAddr)
		prefix, err := netip.ParsePrefix(addr)
		if err != nil {
			prefix = netip.PrefixFrom(netip.MustParseAddr(addr), 32)
		}
		require.False(t, prefix.Addr().Is4In6())
		require.Empty(t, prefix.Addr().Zone())
		require.Equal(t, map[bool]int{true: 32, false: 64}[prefix.Addr().Is4()], prefix.Bits())

		joined, err := ask(left + "," + right)
		require.NoError(t, err)
		require.Equal(t, key, joined, "lines are one list")

		behind, err := ask(left, "203.0.113.77, "+right)
		require.NoError(t, err)
		alone, err := ask("203.0.113.77, " + right)
		require.NoError(t, err)
		require.Equal(t, alone, behind, "what is further to the left than an address that is no proxy's does not count")
	})
}
