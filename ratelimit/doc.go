// Package ratelimit limits requests: how many per second and key, how many at once, and which ones first when there are too many.
package ratelimit
