"""The rules of the design as checks on independent bookkeeping; each function names the rule whose breach it reports.

An oracle is given what it judges and raises ``RuleBroken``. None of them reads a number of the code under test without
holding one of its own against it.
"""
