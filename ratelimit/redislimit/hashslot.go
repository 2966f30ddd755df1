package redislimit

import "strings"

// tagOf returns the hash tag of a key, or the whole key if it has none.
func tagOf(key string) string {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			return tag
		}
	}
	return key
}

// slotOf returns the hash slot of a key of a Redis Cluster: the CRC16 (XMODEM) of its hash tag.
func slotOf(key string) uint16 {
	var crc uint16
	for _, c := range []byte(tagOf(key)) {
		crc ^= uint16(c) << 8
		for range 8 {
			carry := crc&0x8000 != 0
			crc <<= 1
			if carry {
				crc ^= 0x1021
			}
		}
	}
	return crc % slots
}

const slots = 1 << 14
