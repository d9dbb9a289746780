"""The ops on waveforms, frames and spectra."""
