package ratelimit_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/ratelimit"
)

// prefixes parses prefixes. An empty string is the zero Prefix.
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

// proxies are the trusted proxies of the tests.
var proxies = prefixes("10.0.0.0/8", "2001:db8:a::/48")

func TestByForwardedFor(t *testing.T) {
	t.Parallel()
	for group, rows := range map[string][]struct {
		name  string
		peer  string
		lines []string
		want  string
	}{
		"regular": {
			{"one proxy", "10.0.0.1:1", []string{"203.0.113.9"}, "203.0.113.9"},
			{"two proxies", "10.0.0.1:1", []string{"203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
			{"two proxies, two lines", "10.0.0.1:1", []string{"203.0.113.9", "10.0.0.2"}, "203.0.113.9"},
			{"no header", "10.0.0.1:1", nil, "10.0.0.1"},
			{"all are proxies", "10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
			{"an IPv6 proxy", "[2001:db8:a::1]:1", []string{"203.0.113.9"}, "203.0.113.9"},
		},
		"a client without a proxy": {
			{"claims another address", "203.0.113.9:1", []string{"198.51.100.1"}, "203.0.113.9"},
			{"claims a proxy's", "203.0.113.9:1", []string{"10.0.0.1"}, "203.0.113.9"},
		},
		"a client that has sent the header": {
			{"another address", "10.0.0.1:1", []string{"198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
			{"on another line", "10.0.0.1:1", []string{"198.51.100.1", "203.0.113.9"}, "203.0.113.9"},
			{"a proxy's address", "10.0.0.1:1", []string{"198.51.100.1, 10.0.0.7, 203.0.113.9"}, "203.0.113.9"},
			{"not an address", "10.0.0.1:1", []string{"\"><script>, 203.0.113.9"}, "203.0.113.9"},
			{"thousands", "10.0.0.1:1", []string{strings.Repeat("10.0.0.1,", 5000) + "203.0.113.9"}, "203.0.113.9"},
		},
		"a proxy reports something that is not an address": {
			{"unknown", "10.0.0.1:1", []string{"unknown"}, "10.0.0.1"},
			{"between proxies", "10.0.0.1:1", []string{"203.0.113.9, unknown, 10.0.0.2"}, "10.0.0.2"},
			{"a host name", "10.0.0.1:1", []string{"client.example"}, "10.0.0.1"},
			{"leading zeros", "10.0.0.1:1", []string{"203.0.113.009"}, "10.0.0.1"},
			{"brackets around IPv4", "10.0.0.1:1", []string{"[203.0.113.9]"}, "10.0.0.1"},
			{"half of a bracket", "10.0.0.1:1", []string{"[2001:db8::1"}, "10.0.0.1"},
		},
		"empty elements": { // RFC 9110, section 5.6.1
			{"at the end", "10.0.0.1:1", []string{"203.0.113.9, "}, "203.0.113.9"},
			{"at the beginning", "10.0.0.1:1", []string{", 203.0.113.9"}, "203.0.113.9"},
			{"several", "10.0.0.1:1", []string{"203.0.113.9,, ,\t,"}, "203.0.113.9"},
			{"between proxies", "10.0.0.1:1", []string{"203.0.113.9, , 10.0.0.2"}, "203.0.113.9"},
			{"an empty line after", "10.0.0.1:1", []string{"203.0.113.9", ""}, "203.0.113.9"},
			{"an empty line before", "10.0.0.1:1", []string{"", "203.0.113.9"}, "203.0.113.9"},
			{"a line of spaces", "10.0.0.1:1", []string{"203.0.113.9", " \t "}, "203.0.113.9"},
			{"lines of commas", "10.0.0.1:1", []string{",,", "203.0.113.9", ",,", "10.0.0.2", ", ,"}, "203.0.113.9"},
			{"commas only", "10.0.0.1:1", []string{",,"}, "10.0.0.1"},
			{"empty lines only", "10.0.0.1:1", []string{"", ""}, "10.0.0.1"},
			{"from the client", "10.0.0.1:1", []string{"198.51.100.1,,", ",203.0.113.9"}, "203.0.113.9"},
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
		"IPv4-mapped addresses": {
			{"the client", "10.0.0.1:1", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
			{"the client, in hexadecimal", "10.0.0.1:1", []string{"::ffff:cb00:7109"}, "203.0.113.9"},
			{"a proxy", "10.0.0.1:1", []string{"203.0.113.9, ::ffff:10.0.0.2"}, "203.0.113.9"},
			{"the peer", "[::ffff:10.0.0.1]:1", []string{"203.0.113.9"}, "203.0.113.9"},
		},
		"NAT64 addresses": { // RFC 6052, section 2.1
			{"the client", "10.0.0.1:1", []string{"64:ff9b::203.0.113.9"}, "203.0.113.9"},
			{"the client, in hexadecimal", "10.0.0.1:1", []string{"[64:ff9b::cb00:7109]:4711"}, "203.0.113.9"},
			{"a proxy", "10.0.0.1:1", []string{"203.0.113.9, 64:ff9b::10.0.0.2"}, "203.0.113.9"},
			{"the peer", "[64:ff9b::10.0.0.1]:1", []string{"203.0.113.9"}, "203.0.113.9"},
			{"an untrusted peer", "[64:ff9b::198.51.100.7]:1", []string{"203.0.113.9"}, "198.51.100.7"},
			{"another prefix", "10.0.0.1:1", []string{"64:ff9c::203.0.113.9"}, "64:ff9c::/64"},
			{"beyond the prefix", "10.0.0.1:1", []string{"64:ff9b::1:203.0.113.9"}, "64:ff9b::/64"},
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
		"[64:ff9b::203.0.113.9]:1":  "addr:203.0.113.9",
		"[64:ff9b::c633:6407%x]:80": "addr:198.51.100.7",
	} {
		r := request("X-Forwarded-For", "198.51.100.1")
		r.RemoteAddr = peer
		key, err := ratelimit.ByRemoteAddr(r)
		require.NoError(t, err, peer)
		require.Equal(t, want, key)
	}
}

func TestIPv6Bits(t *testing.T) {
	t.Parallel()
	r := request()
	r.RemoteAddr = "[2001:db8:1:2:3:4:5:6]:1"
	for bits, want := range map[int]string{1: "::/1", 0: "2001:db8:1:2::/64", 48: "2001:db8:1::/48", 128: "2001:db8:1:2:3:4:5:6/128"} {
		key, err := ratelimit.ByAddress(&ratelimit.AddressOptions{IPv6Bits: bits})(r)
		require.NoError(t, err)
		require.Equal(t, "addr:"+want, key)
	}
}

func TestTrustedPrefixWiderThanMappedIPv4(t *testing.T) {
	t.Parallel()
	for prefix, peer := range map[string]string{"::ffff:0:0/95": "::fffe:1:1", "64:ff9b::/95": "64:ff9b::1:0:1"} {
		r := request("X-Forwarded-For", "203.0.113.9")
		r.RemoteAddr = "[" + peer + "]:1"
		key, err := ratelimit.ByForwardedFor(prefixes(prefix)...)(r)
		require.NoError(t, err)
		require.Equal(t, "addr:203.0.113.9", key, prefix)
	}
}

func TestTrustedPrefixOfMappedIPv4(t *testing.T) {
	t.Parallel()
	for prefix, want := range map[string]string{
		"::ffff:10.0.0.0/104":   "203.0.113.9",
		"::ffff:0:0/96":         "198.51.100.1",
		"64:ff9b::10.0.0.0/104": "203.0.113.9",
		"64:ff9b::/96":          "198.51.100.1",
		"::/0":                  "10.0.0.1",
		"64:ff9b::/32":          "10.0.0.1",
	} {
		r := request("X-Forwarded-For", "198.51.100.1, 203.0.113.9")
		r.RemoteAddr = "10.0.0.1:1"
		key, err := ratelimit.ByForwardedFor(prefixes(prefix)...)(r)
		require.NoError(t, err)
		require.Equal(t, "addr:"+want, key, prefix)
	}
}

func TestAddressInASingleValueHeader(t *testing.T) {
	t.Parallel()
	for _, header := range []string{"cf-connecting-ip", "Fly-Client-IP", "X-Real-Ip"} {
		f := ratelimit.ByAddress(&ratelimit.AddressOptions{Trusted: proxies, Header: header, IPv6Bits: 56})
		for _, row := range []struct {
			peer  string
			lines []string
			want  string
		}{
			{"10.0.0.1:1", []string{"203.0.113.9"}, "203.0.113.9"},
			{"10.0.0.1:1", []string{" 203.0.113.9:80 "}, "203.0.113.9"},
			{"10.0.0.1:1", []string{"64:ff9b::203.0.113.9"}, "203.0.113.9"},
			{"10.0.0.1:1", []string{"2001:db8:0:ff::1"}, "2001:db8::/56"},
			{"10.0.0.1:1", []string{"198.51.100.1", "203.0.113.9"}, "203.0.113.9"},
			{"10.0.0.1:1", []string{"203.0.113.9", ""}, "203.0.113.9"},
			{"10.0.0.1:1", []string{"unknown"}, "10.0.0.1"},
			{"10.0.0.1:1", nil, "10.0.0.1"},
			{"198.51.100.7:1", []string{"203.0.113.9"}, "198.51.100.7"},
		} {
			r := request("X-Forwarded-For", "192.0.2.66")
			r.RemoteAddr = row.peer
			r.Header[http.CanonicalHeaderKey(header)] = row.lines
			key, err := f(r)
			require.NoError(t, err)
			require.Equal(t, "addr:"+row.want, key, "%s: %q", header, row.lines)
		}
	}
	require.Panics(t, func() { ratelimit.ByAddress(&ratelimit.AddressOptions{Header: "forwarded"}) })
}

func TestTrustUnixSocket(t *testing.T) {
	t.Parallel()
	trusting := ratelimit.ByAddress(&ratelimit.AddressOptions{TrustUnixSocket: true, Trusted: proxies})
	for name, row := range map[string]struct {
		f         ratelimit.KeyFunc
		forwarded string
		key       string
		noKey     bool
	}{
		"trusted":                    {f: trusting, forwarded: "198.51.100.1, 203.0.113.9", key: "addr:203.0.113.9"},
		"trusted, and another proxy": {f: trusting, forwarded: "203.0.113.9, 10.0.0.2", key: "addr:203.0.113.9"},
		"trusted, without a header":  {f: trusting, noKey: true},
		"trusted, without address":   {f: trusting, forwarded: "203.0.113.9, unknown", noKey: true},
		"not trusted":                {f: ratelimit.ByForwardedFor(proxies...), forwarded: "203.0.113.9"},
		"no proxy is trusted":        {f: ratelimit.ByRemoteAddr, forwarded: "203.0.113.9"},
	} {
		key, err := overUnixSocket(t, row.f, row.forwarded)
		require.Equal(t, row.key, key, name)
		require.Equal(t, row.key != "", err == nil, name)
		require.Equal(t, row.noKey, errors.Is(err, ratelimit.ErrNoKey), name)
	}
}

// overUnixSocket returns what f returns for a request over a Unix socket.
func overUnixSocket(t *testing.T, f ratelimit.KeyFunc, forwarded string) (key string, err error) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	require.NoError(t, err)
	var keyErr error
	s := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		key, keyErr = f(r)
	})}}
	s.Start()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://socket/", nil)
	require.NoError(t, err)
	if forwarded != "" {
		r.Header.Set("X-Forwarded-For", forwarded)
	}
	resp, err := client.Do(r)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	client.CloseIdleConnections()
	s.Close() // waits for the handler
	return key, keyErr
}

// Middleware may set RemoteAddr to what a client wrote.
func TestTrustUnixSocketDoesNotTrustRemoteAddr(t *testing.T) {
	t.Parallel()
	trusting := ratelimit.ByAddress(&ratelimit.AddressOptions{TrustUnixSocket: true, Trusted: proxies})
	for _, peer := range []string{"@", "", "pipe"} {
		r := request("X-Forwarded-For", "203.0.113.9")
		r.RemoteAddr = peer
		_, err := trusting(r)
		require.Error(t, err)
		_, err = trusting(r.WithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, &net.TCPAddr{})))
		require.Error(t, err)
	}
}

func TestTrustedPrefixesAreCopied(t *testing.T) {
	t.Parallel()
	trusted := prefixes("192.0.2.0/24")
	f := ratelimit.ByForwardedFor(trusted...)
	trusted[0] = netip.MustParsePrefix("198.51.100.0/24")
	key, err := f(request("X-Forwarded-For", "203.0.113.9")) // from 192.0.2.1
	require.NoError(t, err)
	require.Equal(t, "addr:203.0.113.9", key)
}

func TestPeerWithoutAnAddressIs500(t *testing.T) {
	t.Parallel()
	h := ratelimit.New(ratelimit.NewMemory(nil), nil, ratelimit.Rule{Key: ratelimit.ByRemoteAddr})(ok)
	for _, peer := range []string{"", "@", "pipe", "[::1"} {
		r := request()
		r.RemoteAddr = peer
		require.Equal(t, http.StatusInternalServerError, serve(h, r).Code, peer)
	}
}

// FuzzForwardedFor compares with a second reading of the rules, which splits the joined
// list.
func FuzzForwardedFor(f *testing.F) {
	f.Add("10.0.0.1:1", "203.0.113.9", "198.51.100.1, 10.0.0.2")
	f.Add("[2001:db8:a::1]:443", "\"x\"", "[2001:db8::1]:80,::ffff:10.0.0.1")
	f.Add("203.0.113.9:1", "", "unknown")
	f.Add("@", ",", ",,")
	f.Add("10.0.0.1:1", "203.0.113.9, ", "")
	f.Add("10.0.0.1:1", ",64:ff9b::203.0.113.9", "\t,64:ff9b::a00:1, ,")
	f.Add("10.0.0.1:1", "fe80::1%x, [::1]", "10.0.0.9")
	f.Add("[10:0:1::]", "0", "0")      // brackets without a port
	f.Add("100.0.100.A", "", "0")      // a letter in an IPv4 address
	f.Add("0:\xf4\x80\x800", "0", "0") // a port that is not UTF-8
	f.Add("%", "0", "0")               // only a zone
	f.Fuzz(func(t *testing.T, peer, one, two string) {
		r := request()
		r.RemoteAddr = peer
		r.Header["X-Forwarded-For"] = []string{one, two}
		key, err := ratelimit.ByForwardedFor(proxies...)(r)
		want, ok := plainClient(peer, []string{one, two})
		if !ok {
			require.Error(t, err)
			require.Empty(t, key)
			return
		}
		require.NoError(t, err)
		require.Equal(t, want, key)
	})
}

// plainClient returns the key of the client.
func plainClient(peer string, lines []string) (string, bool) {
	addr, ok := plainAddr(peer)
	if !ok {
		return "", false
	}
	hops := strings.Split(strings.Join(lines, ","), ",")
	for len(hops) > 0 && slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		hop := strings.Trim(hops[len(hops)-1], " \t")
		hops = hops[:len(hops)-1]
		if hop == "" {
			continue
		}
		before, ok := plainAddr(hop)
		if !ok {
			break
		}
		addr = before
	}
	if addr.Is4() {
		return "addr:" + addr.String(), true
	}
	return "addr:" + netip.PrefixFrom(addr, 64).Masked().String(), true
}

// plainAddr parses an address in any spelling.
func plainAddr(s string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		var ap netip.AddrPort
		ap, err = netip.ParseAddrPort(s)
		addr = ap.Addr()
	}
	if err != nil && strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") && strings.Contains(s, ":") {
		addr, err = netip.ParseAddr(s[1 : len(s)-1])
	}
	if err != nil {
		return netip.Addr{}, false
	}
	addr = addr.Unmap().WithZone("")
	if b := addr.As16(); netip.MustParsePrefix("64:ff9b::/96").Contains(addr) {
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	return addr, true
}
