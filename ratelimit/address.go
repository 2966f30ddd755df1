package ratelimit

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// AddressOptions configure [ByAddress]. Nil and the zero value are the defaults.
type AddressOptions struct {
	// Trusted are the addresses of the proxies that are trusted to report the address of
	// their client. If empty, no proxy is trusted, and the key is the address of the
	// peer.
	Trusted []netip.Prefix

	// TrustUnixSocket trusts a peer that is connected to a Unix socket of this server,
	// such as a proxy on the same machine. Such a peer has no address. If it does not
	// report one, the request has no key ([ErrNoKey]).
	TrustUnixSocket bool

	// Header is the header in which trusted proxies report the address. If empty, it is
	// X-Forwarded-For. A header with a single address, such as CF-Connecting-IP or
	// Fly-Client-IP, is read by the same rules. Every trusted proxy must set the header.
	// If a proxy passes the client's header on, the client can choose the address.
	// Forwarded (RFC 7239) is not supported.
	Header string

	// IPv6Bits is the length of an IPv6 prefix, 1 to 128. All addresses with the same
	// prefix share a bucket. If zero, it is 64, since every subscriber has at least a
	// /64. With 128, a subscriber would have 2^64 buckets.
	IPv6Bits int
}

// ByRemoteAddr returns the address of the peer, for a server that clients reach directly.
// Behind a proxy, that is the proxy's address: see [ByForwardedFor]. All IPv6 addresses
// of a /64 prefix share a bucket. A request whose peer has no IP address is answered with
// 500 api_error.
func ByRemoteAddr(r *http.Request) (string, error) { return byRemoteAddr(r) }

var byRemoteAddr = ByAddress(nil)

// ByForwardedFor returns the address of the client behind the trusted proxies. It is safe
// only if each trusted proxy appends the address of its peer to X-Forwarded-For, and if
// no client has a trusted address. It panics if no prefix is given or one is invalid.
//
// All lines of X-Forwarded-For form one list. It is read from the right, since the
// nearest proxy appends last. The first address that is not a trusted proxy is the
// client. Everything to the left of it is ignored, since the client may have written it.
// Empty elements are ignored (RFC 9110, section 5.6.1). If an element is not an address,
// the key is the address of the proxy that has reported it. If the peer is not trusted,
// the key is the peer's address.
func ByForwardedFor(trusted ...netip.Prefix) KeyFunc {
	if len(trusted) == 0 {
		panic("ratelimit: ByForwardedFor without a trusted proxy: use ByRemoteAddr")
	}
	return ByAddress(&AddressOptions{Trusted: trusted})
}

// ByAddress is [ByRemoteAddr] and [ByForwardedFor] with options. An IPv4-mapped IPv6
// address counts as its IPv4 address, and so does one with the NAT64 prefix 64:ff9b::/96
// (RFC 6052). Zones are ignored. A request whose peer has no IP address and is not
// trusted is answered with 500 api_error. ByAddress panics if an option is invalid.
func ByAddress(o *AddressOptions) KeyFunc {
	if o == nil {
		o = &AddressOptions{}
	}
	bits := cmp.Or(o.IPv6Bits, 64)
	if bits < 1 || bits > 128 {
		panic("ratelimit: AddressOptions.IPv6Bits must be 0 to 128")
	}
	header := http.CanonicalHeaderKey(cmp.Or(o.Header, "X-Forwarded-For"))
	if header == "Forwarded" {
		panic("ratelimit: AddressOptions.Header cannot be Forwarded")
	}
	trusted, trustUnix := trustedPrefixes(o.Trusted), o.TrustUnixSocket
	return func(r *http.Request) (string, error) {
		peer, ok := parseAddr(r.RemoteAddr)
		unix := !ok && trustUnix && onUnixSocket(r)
		if !ok && !unix {
			return "", fmt.Errorf("ratelimit: the peer's address is not an IP address: %.64q", r.RemoteAddr)
		}
		addr := peer
		if unix || contains(trusted, peer) {
			addr = client(peer, r.Header[header], trusted)
		}
		if !addr.IsValid() {
			return "", ErrNoKey
		}
		if addr.Is4() {
			return "addr:" + addr.String(), nil
		}
		prefix, err := addr.Prefix(bits)
		return "addr:" + prefix.String(), err
	}
}

// trustedPrefixes returns a copy of the prefixes. A prefix of IPv6 addresses that stand
// for IPv4 addresses becomes an IPv4 prefix, since parseAddr turns such addresses into
// IPv4 addresses.
func trustedPrefixes(prefixes []netip.Prefix) []netip.Prefix {
	trusted := slices.Clone(prefixes)
	for i, p := range trusted {
		if !p.IsValid() {
			panic("ratelimit: a trusted prefix is invalid")
		}
		if addr := ipv4(p.Addr()); addr.Is4() && p.Bits() >= 96 {
			trusted[i] = netip.PrefixFrom(addr, p.Bits()-96)
		}
	}
	return trusted
}

// onUnixSocket reports whether the request came over a Unix socket of a net/http server.
// RemoteAddr is not enough: its text for such a peer differs between systems, and
// middleware may set it from a header.
func onUnixSocket(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && local.Network() == "unix"
}

// client returns the client behind a trusted peer: the first address in the list, from
// the right, that is not trusted.
func client(peer netip.Addr, lines []string, trusted []netip.Prefix) netip.Addr {
	addr := peer
	rest := strings.Join(lines, ",")
	for rest != "" {
		i := strings.LastIndexByte(rest, ',') // -1 if there is only one element left
		element := strings.Trim(rest[i+1:], " \t")
		rest = rest[:max(i, 0)]
		if element == "" {
			continue
		}
		reported, ok := parseAddr(element)
		if !ok {
			return addr
		}
		addr = reported
		if !contains(trusted, addr) {
			return addr
		}
	}
	return addr
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// parseAddr parses an address, with or without a port or, for IPv6, brackets. The result
// has no zone. An IPv6 address that stands for an IPv4 address becomes that IPv4 address.
func parseAddr(s string) (netip.Addr, bool) {
	var addr netip.Addr
	var err error
	inside, bracketed := strings.CutPrefix(s, "[")
	switch {
	case strings.Count(s, ":") == 1, strings.Contains(s, "]:"):
		var ap netip.AddrPort
		ap, err = netip.ParseAddrPort(s)
		addr = ap.Addr()
	case bracketed && strings.HasSuffix(s, "]"):
		addr, err = netip.ParseAddr(strings.TrimSuffix(inside, "]"))
		if addr.Is4() {
			return netip.Addr{}, false
		}
	default:
		addr, err = netip.ParseAddr(s)
	}
	return ipv4(addr.WithZone("")), err == nil
}

// nat64 is the well-known prefix of RFC 6052, section 2.1. The last 32 bits are an IPv4
// address.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// ipv4 returns the IPv4 address that an IPv6 address stands for, or the address itself.
func ipv4(addr netip.Addr) netip.Addr {
	if nat64.Contains(addr) {
		b := addr.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return addr.Unmap()
}
