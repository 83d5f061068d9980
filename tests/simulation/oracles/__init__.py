"""The rules of the design as checks on independent bookkeeping; each function names the rule whose breach it reports.

An oracle is given what it judges and raises ``RuleBroken``. None of them trusts a number of the code under test: each
compares it with a number of its own.
"""
