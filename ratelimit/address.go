package ratelimit

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// AddressOptions are options of [ByAddress].
type AddressOptions struct {
	// Trusted are the proxies whose X-Forwarded-For is believed, by their addresses. None is nobody: the address is the peer's.
	Trusted []netip.Prefix

	// IPv6Bits is the length of the prefix by which IPv6 addresses share a bucket. 0 is 64, which is what a subscriber has at least;
	// 128 gives each address its own, of which one subscriber has 2^64.
	IPv6Bits int
}

// ByRemoteAddr is the address of the peer, for a server that clients reach directly. Behind a proxy it is the proxy's: see
// [ByForwardedFor]. IPv6 addresses share a bucket by /64.
func ByRemoteAddr(r *http.Request) (string, error) { return byRemoteAddr(r) }

var byRemoteAddr = ByAddress(nil)

// ByForwardedFor is the address of the client behind the trusted proxies. It is only safe when each of them appends the address of its
// own peer to X-Forwarded-For, and when a proxy that is named cannot be reached around. It panics without one.
//
// All lines of X-Forwarded-For are one list. It is read from the right, from the proxy nearest to us, until the first address that is
// not a trusted proxy's: that is the client, whatever it wrote further to the left. What is no address ends the walk too, and then the
// client is the last proxy that was found. A peer that is not trusted is the client itself.
func ByForwardedFor(trusted ...netip.Prefix) KeyFunc {
	if len(trusted) == 0 {
		panic("ratelimit: ByForwardedFor without a trusted proxy; use ByRemoteAddr")
	}
	return ByAddress(&AddressOptions{Trusted: trusted})
}

// ByAddress is [ByRemoteAddr] and [ByForwardedFor] with options. An IPv4-mapped IPv6 address is its IPv4 address, and a zone does not
// count. A request whose peer has no IP address, such as that of a Unix socket, is answered with 500: it needs another key.
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
	trusted := slices.Clone(o.Trusted)
	for i, p := range trusted {
		if !p.IsValid() {
			panic("ratelimit: a trusted prefix is invalid")
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			trusted[i] = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
	}
	return func(r *http.Request) (string, error) {
		addr, ok := parseAddr(r.RemoteAddr)
		if !ok {
			return "", fmt.Errorf("ratelimit: the peer's address is not an IP address: %.64q", r.RemoteAddr)
		}
		addr = client(addr, r.Header["X-Forwarded-For"], trusted)
		var buffer [64]byte
		key := append(buffer[:0], "addr:"...)
		if addr.Is4() {
			return string(addr.AppendTo(key)), nil
		}
		prefix, _ := addr.Prefix(bits) // in range: checked above
		return string(prefix.AppendTo(key)), nil
	}
}

// client walks from the peer towards the client for as long as the address is a trusted proxy's.
func client(addr netip.Addr, forwarded []string, trusted []netip.Prefix) netip.Addr {
	for _, line := range slices.Backward(forwarded) {
		for more := true; more; {
			if !contains(trusted, addr) {
				return addr
			}
			var last string
			if i := strings.LastIndexByte(line, ','); i >= 0 {
				line, last = line[:i], line[i+1:]
			} else {
				last, more = line, false
			}
			before, ok := parseAddr(strings.Trim(last, " \t"))
			if !ok {
				return addr
			}
			addr = before
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

// parseAddr reads an address with or without a port, an IPv6 address with or without brackets. The result is unmapped and has no zone.
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
	return addr.Unmap().WithZone(""), err == nil
}
