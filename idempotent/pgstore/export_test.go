package pgstore

import "time"

// LookEvery sets the average time between two looks of Wait. Call it first.
func (s *Store) LookEvery(d time.Duration) { s.poller = s.newPoller(d) }
