"""Reads goals: which operations, in which order, with which details, and when to ask back."""

from services.orchestrator.intent.intent import ClarifyReason, IntendedOperation, Intent, Reading
from services.orchestrator.intent.model import IntentModel

__all__ = ["ClarifyReason", "IntendedOperation", "Intent", "IntentModel", "Reading"]
