package redislimit

import _ "embed" // for the scripts

var (
	//go:embed scripts/bucket.lua
	bucketLua string
	//go:embed scripts/take.lua
	takeLua string
	//go:embed scripts/adjust.lua
	adjustLua string
	//go:embed scripts/reset.lua
	resetScript string

	//go:embed scripts/slots_enter.lua
	slotsEnterLua string
	//go:embed scripts/slots_renew.lua
	slotsRenewLua string
	//go:embed scripts/slots_leave.lua
	slotsLeaveLua string
)

// The scripts that read buckets.
var (
	takeScript   = bucketLua + takeLua
	adjustScript = bucketLua + adjustLua
)
