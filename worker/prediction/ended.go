package prediction

import "perch/shared/telemetry"

// Ended tells how the prediction of an answer ended: one of telemetry's Ended
// constants, or "" while it has not, or where the answer is none of a prediction.
// A synchronous create that succeeded answers 201 with the output filled in while
// its status is still processing. Elsewhere an output may be the part so far.
func Ended(f Facts, httpStatus int, synchronous bool) string {
	if httpStatus < 200 || httpStatus > 299 {
		return ""
	}
	switch f.Status {
	case telemetry.EndedSucceeded, telemetry.EndedFailed, telemetry.EndedCanceled, telemetry.EndedAborted:
		return f.Status
	case "processing":
		if synchronous && httpStatus == 201 && f.HasOutput && f.Error == "" {
			return telemetry.EndedSucceeded
		}
	}
	return ""
}
