package prediction

import (
	"cmp"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// wantMS is a number of seconds in milliseconds, by exact arithmetic.
func wantMS(number string) int64 {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(number), "e")
	power, err := strconv.Atoi(cmp.Or(exponent, "0"))
	if err != nil || power > 1000 || power < -1000 {
		return 0
	}
	value, ok := new(big.Rat).SetString(mantissa + "e" + strconv.Itoa(power+3))
	if !ok || value.Sign() <= 0 {
		return 0
	}
	value.Add(value, big.NewRat(1, 2))
	whole := new(big.Int).Quo(value.Num(), value.Denom())
	if !whole.IsInt64() || whole.Int64() > maxMS {
		return 0
	}
	return whole.Int64()
}

func TestMilliseconds(t *testing.T) {
	for number, want := range map[string]int64{
		"0": 0, "1": 1000, "0.012683": 13, "0.0005": 1, "0.00049999999999999999999999999": 0, "1.2345e1": 12345, "5E-1": 500, "1e+2": 100_000,
		"-1": 0, "9007199254740.992": maxMS, "9007199254740.993": 0, "1e400": 0, "1e-400": 0, "1e99999999999999999999": 0, "0e99999999999999999999": 0,
		"123456789012345678901234567890e-27": 123457, "0.000000000000000000000000000001e30": 1000,
	} {
		require.Equal(t, want, milliseconds([]byte(number)), number)
	}
	random := rand.New(rand.NewPCG(5, 6))
	for range 100_000 {
		digits := strconv.FormatUint(random.Uint64()>>random.IntN(64), 10)
		number := digits
		if random.IntN(3) > 0 {
			point := random.IntN(len(digits)) + 1
			number = digits[:point] + "." + digits[point:] + "0"
		}
		if random.IntN(2) == 0 {
			number += []string{"e", "E-", "e+", "E-0"}[random.IntN(4)] + strconv.Itoa(random.IntN(30))
		}
		require.Equal(t, wantMS(number), milliseconds([]byte(number)), number)
	}
}

func TestEpochMS(t *testing.T) {
	for text, want := range map[string]int64{
		"2023-09-08T16:19:34.765994Z": 1694189974765, "1970-01-01T00:00:00Z": 0, "1970-01-01T00:00:00.001Z": 1, "1969-12-31T23:59:59Z": 0,
		"2024-02-29T00:00:00+00:00": 1709164800000, "2023-02-29T00:00:00Z": 0, "2100-02-29T00:00:00Z": 0, "2000-02-29T12:00:00-01:30": 951831000000,
		"2023-09-08T16:19:34": 0, "2023-09-08 16:19:34Z": 0, "2023-09-08T16:19:34.Z": 0, "2023-09-08T16:19:60Z": 0, "2023-13-08T16:19:34Z": 0, "2023-00-08T16:19:34Z": 0,
		"": 0, "soon": 0, "9999-12-31T23:59:59.999Z": 253402300799999, "2023-09-08T16:19:34ZZ": 0,
	} {
		require.Equal(t, want, epochMS([]byte(text)), text)
	}
	random := rand.New(rand.NewPCG(7, 8))
	parsed := 0
	for range 100_000 {
		at := time.UnixMilli(random.Int64N(253402300799999)).In(time.FixedZone("", 60*(random.IntN(2*24*60)-24*60)))
		text := []byte(at.Format([]string{time.RFC3339, time.RFC3339Nano, "2006-01-02T15:04:05.000000Z07:00"}[random.IntN(3)]))
		if random.IntN(2) == 0 {
			text[random.IntN(len(text))] = "0123456789-:.TZ+"[random.IntN(16)]
		}
		want, err := time.Parse(time.RFC3339Nano, string(text))
		if err != nil {
			require.Zero(t, epochMS(text), "%s", text)
			continue
		}
		parsed++
		require.Equal(t, max(0, want.UnixMilli()), epochMS(text), "%s", text)
	}
	require.Greater(t, parsed, 50_000)
}
