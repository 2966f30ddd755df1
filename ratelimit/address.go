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

// AddressOptions are options of [ByAddress].
type AddressOptions struct {
	// Trusted are the proxies that are believed about the address of their peer, by their own
	// addresses. If empty, no one is, and the address is that of the peer.
	Trusted []netip.Prefix

	// TrustUnixSocket trusts a peer that is connected to a Unix socket of this server, as a proxy
	// on the same machine is. Such a peer has no address itself: if it does not forward one, the
	// request has no key ([ErrNoKey]).
	TrustUnixSocket bool

	// Header is where trusted proxies put the address. If empty, it is X-Forwarded-For. One that a
	// proxy replaces by a single address, such as CF-Connecting-IP or Fly-Client-IP, is read by the
	// same rules. It must be one that every trusted proxy sets: a header that it passes on from the
	// client is the client's to choose. Forwarded (RFC 7239) has another syntax and is not
	// supported.
	Header string

	// IPv6Bits is the length of the prefix by which IPv6 addresses share a bucket. 0 is 64, which
	// is what a subscriber has at least; 128 gives each address its own, of which one subscriber
	// has 2^64. Whoever has a /48 has 65,536 prefixes of 64 bits.
	IPv6Bits int
}

// ByRemoteAddr is the address of the peer, for a server that clients reach directly. Behind a proxy
// it is the proxy's: see [ByForwardedFor]. IPv6 addresses share a bucket by /64.
func ByRemoteAddr(r *http.Request) (string, error) { return byRemoteAddr(r) }

var byRemoteAddr = ByAddress(nil)

// ByForwardedFor is the address of the client behind the trusted proxies. It is only safe when each
// of them appends the address of its own peer to X-Forwarded-For, and when a proxy that is named
// cannot be reached around. It panics without one.
//
// All lines of X-Forwarded-For are one list. It is read from the right, from the proxy nearest to
// us, until the first address that is not a trusted proxy's: that is the client, whatever it wrote
// further to the left. Empty elements are ignored (RFC 9110, section 5.6.1). What is no address
// ends the walk too, and then the client is the last proxy that was found. A peer that is not
// trusted is the client itself.
func ByForwardedFor(trusted ...netip.Prefix) KeyFunc {
	if len(trusted) == 0 {
		panic("ratelimit: ByForwardedFor without a trusted proxy; use ByRemoteAddr")
	}
	return ByAddress(&AddressOptions{Trusted: trusted})
}

// ByAddress is [ByRemoteAddr] and [ByForwardedFor] with options. An IPv4-mapped IPv6 address is its
// IPv4 address, so is one behind the NAT64 prefix 64:ff9b::/96 (RFC 6052), and a zone does not
// count. A request whose peer has no IP address, such as one on a Unix socket that is not trusted,
// is answered with 500: it needs another key.
func ByAddress(o *AddressOptions) KeyFunc {
	if o == nil {
		o = &AddressOptions{}
	}
	bits := o.IPv6Bits
	if bits == 0 {
		bits = 64
	}
	if bits < 1 || bits > 128 {
		panic("ratelimit: AddressOptions.IPv6Bits must be 0 to 128")
	}
	header := http.CanonicalHeaderKey(cmp.Or(o.Header, "X-Forwarded-For"))
	if header == "Forwarded" {
		panic("ratelimit: AddressOptions.Header cannot be Forwarded")
	}
	trusted := slices.Clone(o.Trusted)
	for i, p := range trusted {
		if !p.IsValid() {
			panic("ratelimit: a trusted prefix is invalid")
		}
		if addr := ipv4(p.Addr()); addr.Is4() && p.Bits() >= 96 {
			trusted[i] = netip.PrefixFrom(addr, p.Bits()-96)
		}
	}
	trustUnix := o.TrustUnixSocket
	return func(r *http.Request) (string, error) {
		addr, ok := parseAddr(r.RemoteAddr)
		unix := !ok && trustUnix && onUnixSocket(r)
		if !ok && !unix {
			return "", fmt.Errorf("ratelimit: the peer's address is not an IP address: %.64q", r.RemoteAddr)
		}
		if unix || contains(trusted, addr) {
			addr = client(addr, r.Header[header], trusted)
		}
		if !addr.IsValid() {
			return "", ErrNoKey
		}
		var buffer [64]byte
		key := append(buffer[:0], "addr:"...)
		if addr.Is4() {
			return string(addr.AppendTo(key)), nil
		}
		prefix, _ := addr.Prefix(bits) // in range: checked above
		return string(prefix.AppendTo(key)), nil
	}
}

// onUnixSocket reports whether the request came over a Unix socket of a net/http server. What
// RemoteAddr says of such a peer differs between systems, and middleware may fill it with what a
// client wrote.
func onUnixSocket(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return ok && local.Network() == "unix"
}

// client walks from the trusted peer towards the client for as long as the address is a trusted
// proxy's.
func client(peer netip.Addr, forwarded []string, trusted []netip.Prefix) netip.Addr {
	addr := peer
	for _, line := range slices.Backward(forwarded) {
		for more := true; more; {
			var last string
			if i := strings.LastIndexByte(line, ','); i >= 0 {
				line, last = line[:i], line[i+1:]
			} else {
				last, more = line, false
			}
			if last = strings.Trim(last, " \t"); last == "" {
				continue
			}
			before, ok := parseAddr(last)
			if !ok {
				return addr
			}
			if addr = before; !contains(trusted, addr) {
				return addr
			}
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

// parseAddr reads an address with or without a port, an IPv6 address with or without brackets. The
// result has no zone, and is an IPv4 address where it stands for one.
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

// nat64 is the well-known prefix of RFC 6052, section 2.1: the rest is an IPv4 address.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// ipv4 returns the IPv4 address that an IPv6 address stands for, or the address itself.
func ipv4(addr netip.Addr) netip.Addr {
	if nat64.Contains(addr) {
		b := addr.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return addr.Unmap()
}
