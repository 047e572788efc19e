"""Words of the small grammar that reads scope: data only.

Every entry is a word or phrase in lower case; phrases are one token.  The kinds are explained in `tokens`.
"""

# ruff: noqa: E501, SIM905  (patterns and word lists read better on one line)
from __future__ import annotations

#: Denies the noun phrase behind it: "no AU4", "without AU4", "rather than anger".
DENY = """
no|without|neither|nor|none of|none|nothing|lack of|a lack of|absence of|an absence of|rather than|instead of|in place of|
in lieu of|as opposed to|as against|unlike|devoid of|free of|free from|far from|short of|anything but|little to no|
little or no|little if any|hardly any|barely any|scarcely any|almost no|nearly no|virtually no|practically no|no longer any|
zero|minus|sans|evidence against|far removed from|removed from|a far cry from|not a|not any|not an|no sign of|not a trace of|not a sign of|never any|nobody|no one|and not|nowhere near|
loss of|and away from|and against|to the exclusion of|inconsistent with|incompatible with|irreconcilable with|at odds with|atypical of|uncharacteristic of|unaccompanied by|unmixed with|not one of|not so much|beyond mere|beyond|less|more than just|over and above|short on|bare of|bereft of|void of|in the absence of|for want of|not a single|not a single one
""".replace("\n", "").split("|")

#: Of these, nouns that have a predicate of their own: "the lack of AU26 does not change that".
LACK = frozenset(("lack of", "a lack of", "absence of", "an absence of", "loss of"))
#: Denies the predicate that it stands in: "is not", "never", "hardly".
NOT = """
not|n't|never|hardly|barely|scarcely|rarely|seldom|no longer|by no means|in no way|not at all|cannot|cant|dont|doesnt|didnt|
isnt|arent|wasnt|werent|wont|wouldnt|couldnt|hasnt|havent|aint|nowhere|unable to|not yet|anything but
""".replace("\n", "").split("|")

#: Verbs that deny their object, and themselves under a subject of "fails".
DENYING_VERB = """
lack|lacks|lacked|lacking|exclude|excludes|excluding|rule out|rules out|ruling out|preclude|precludes|precluding|dismiss|
dismisses|reject|rejects|rejecting|deny|denies|negate|negates|contradict|contradicts|speak against|speaks against|
speaking against|argue against|argues against|arguing against|point away from|points away from|omit|omits|leave out|leaves out|leaving out|left out|skip|skips|skipping|discard|
discards|refute|refutes|misses|eliminate|eliminates|eliminating|discount|discounts|disconfirms|count out|
fail|fails|failed|failing|refuse to|refuses to|hesitate to|hesitates to|decline to|declines to|refrain from|refrains from|refraining from|
decide against|decided against|decides against|opt against|opted against|opts against|ruled against|rule against|leaned against|lean against|vote against|chose against|
fall short of|falls short of|wary of|reluctant to|hesitant to|unwilling to|loath to|avoid|avoids|doubt|doubts|militates against
""".replace("\n", "").split("|")

#: Predicates that say that something is not there.
ABSENT = """
least likely|least plausible|least probable|impossible to confirm|impossible to verify|impossible to tell|impossible to determine|impossible to evaluate|hard to confirm|hard to verify|hard to determine|hard to evaluate|difficult to confirm|difficult to verify|difficult to determine|difficult to evaluate|
next to none|next to nothing|close to zero|near zero|close to none|switched off|meaningless|irrelevant|inapplicable|redundant|superfluous|turned off|negated|insufficient|below it|under it|absent|missing|lacking|inactive|unlikely|impossible|improbable|implausible|doubtful|excluded|ruled out|ruled-out|rejected|
dismissed|discarded|discounted|eliminated|invisible|unseen|undetected|undetectable|unobserved|unobservable|imperceptible|
negligible|nonexistent|non-existent|gone|at rest|a state of rest|uncoded|unscored|concealed|masked|covered|blocked|occluded|obscured|unmarked|unlisted|inactivated|deactivated|unengaged|disengaged|uninvolved|unactivated|
nil|out of the question|nowhere to be seen|nowhere to be found|not-present|non-active|off the table|unapparent|
unsupported|unwarranted|lacked|omitted|precluded|resting|at baseline|at the baseline|at a baseline|at base level|at zero|at the baseline level|at baseline level|below the threshold|below threshold|under the threshold|below the coding threshold|less than the threshold|too weak to|too faint to|too subtle to|wanting|crossed out|
ruled out completely|hard to score|hard to see|hard to code|hard to judge|hard to assess|hard to detect|hard to make out|difficult to score|difficult to see|difficult to code|difficult to judge|difficult to assess|difficult to detect|difficult to make out|impossible to score|impossible to see|impossible to code|impossible to judge|impossible to assess|impossible to detect|negative|unmoved|unfounded|disconfirmed|refuted|excludable|less likely|less plausible|less probable|less convincing|less fitting|less apparent than|out of it|out of play|leave it out|leaves it out|leave them out|leaving it out|left it out|out of the picture
""".replace("\n", "").split("|")

#: Predicates that say that something is there: they complete a clause and carry over to "AU4 is not".
PRESENT = """
present|active|activated|visible|detected|observed|seen|shown|evident|apparent|engaged|involved|there|displayed|expressed|
noticeable|perceptible|discernible|recognizable|recognisable|detectable|observable|coded|found|noted|identified|positive|
clear|obvious|likely|probable|strong|weak|slight|faint|subtle|moderate|intense|pronounced|marked|mild|prominent|
dominant|conveyed|depicted|scored|confirmed|triggered|recruited|contracted|in play|at play|exhibited|implicated|indicated
""".replace("\n", "").split("|")

#: A state of rest, which denies an action unit that is explained by it.
REST = "silent idle inert quiet motionless passive quiescent dormant slack relaxed neutral smooth flat unchanged normal still calm level unwrinkled resting loose".split()

#: Frames in which nothing is claimed.
UNREAL = """
if|be it|unless|whether|as if|as though|even if|were it|had it|in case|should there|provided that|assuming|supposing|
might be confused with|confused with|mistaken for|mistaken as|misread as|misread for|misinterpreted as|mistook for|taken for|
not to be confused with|remind you of|remind one of|remind me of|reminds one of|reminds me of|reminds you of|mimic|mimics|resemble|resembles|reminiscent of
""".replace("\n", "").split("|")

#: Exceptions: their sign is the opposite of what they are an exception to.
EXCEPT = """
except|except for|excepting|with the exception of|with exception of|apart from|aside from|other than|besides|save for|but for|
barring|everything but|in addition to|save|with the sole exception of|with the only exception of|in contrast to|contrary to|as distinct from|compared with|compared to
""".replace("\n", "").split("|")
#: Of these, those that add where nothing is denied: "apart from AU6, AU12 is active".
ADDING = frozenset({"apart from", "aside from", "besides", "in addition to"})

#: Open a new claim.
CONTRAST = """
but|once|but rather|but also|but instead|however|although|though|even though|whereas|while|yet|because|since|so that|hence|therefore|
thus|despite|in spite of|albeit|whilst|when|where|and yet|nevertheless|nonetheless|given that|until|before|after
""".replace("\n", "").split("|")
#: Name what a sentence is about, before it says anything: "as for AU7, there is nothing to suggest it".
TOPIC = """
as for|as regards|regarding|concerning|with regard to|with regards to|with respect to|in regard to|when it comes to|in the case of|speaking of
""".replace("\n", "").split("|")
RELATIVE = frozenset({"which", "who", "whose"})
#: End a denial inside a clause.
RESET = [
    "so much as",
    "more like",
    *"only just instead rather solely merely simply exclusively leaving leaves remains leave alone".split(),
]

COPULA = frozenset("is are was were be been being am 's 're appear appears appeared seem seems seemed look looks looked "
                   "remain remains stay stays become becomes feel feels proves".split())  # fmt: skip
MODAL = frozenset("can could may might will would shall should must do does did has have had ca wo 'd 'll 've".split())
#: Finite verbs that are hardly ever anything else.
VERB = frozenset(
    "shows showed displays displayed exhibits exhibited conveys conveyed expresses suggests suggested indicates indicated "
    "reveals revealed reflects signals implies means involves contains includes demonstrates demonstrated exists occurs "
    "contributes dominates dominated prevails outweighs accompanies corresponds fits matches depicts portrays presents "
    "produces creates gives makes made leads points comes goes gets takes tells says see detect observe notice find code "
    "recognize recognise believe think say know conclude pulls raises lifts lowers draws presses tightens stretches wrinkles "
    "parts drops opens closes smiles frowns squints grins laughs cries weeps scowls pouts glares beams favors favours "
    "prefer prefers supports needs wants rules lacks fails excludes leaves represents constitutes forms combines stands results causes "
    "evokes betrays hints speaks argues considered rejected scores reads radiates wins hangs has helps shines run runs "
    "spreads works plays holds keeps sees reaches touches follows precedes lean go choose pick opt doubt doubts saw "
    "came went saw gave took remained appears remains feels looks fill fills exclude finds travels rises turns proves stays lights activates carries bears warrants describes describe signify signifies identifies".split()
) | frozenset(("turned out", "turns out"))
#: Verbs in their plain form, which may be nouns: verbs behind a plural, a pronoun or a mention.
BASE_VERB = frozenset(
    "show display exhibit convey express suggest indicate reveal reflect signal imply mean involve contain include "
    "demonstrate exist occur contribute dominate prevail outweigh accompany correspond fit match depict portray present "
    "produce create give make lead point come get take tell pull raise lift lower draw press tighten stretch wrinkle "
    "part drop open close smile frown squint grin laugh cry support favor favour need lack fail leave represent form "
    "combine stand result cause glare argue speak hint read work fire play hold keep exclude rule".split()
)
PRONOUN = frozenset("i we you he she it they this these that those one there what none both neither".split())
PEOPLE = frozenset(
    "woman man person girl boy child face lady guy subject individual baby people men women eyes".split()
)
#: Parts of a face: a word of rest before one says something of it, not of a unit.
PARTS = frozenset(
    "lips lip mouth brow brows eyebrows eyes lids eyelids cheeks forehead nose chin jaw face expression look".split()
)
DEGREE = frozenset(
    "very fully entirely completely strongly particularly overly too as so extremely highly pronounced intense strong "
    "limited intensely heavily exaggerated especially only just merely solely simply necessarily all quite overwhelmingly "
    "dominant prominent alone isolated pure mild weak subtle slight faint symmetric symmetrical bilateral unilateral "
    "always maximal maximum massive".split()
)
COMPANY = frozenset("accompanied combined paired coupled joined mixed followed supported matched complemented".split())
#: What is not so caused is there all the same: "the parted lips are not due to ...".
CAUSED = frozenset("due caused produced explained".split())
#: Things whose denial denies what they are said of.
ACTIVITY = frozenset(
    "activity activation activations sign signs evidence trace traces indication indications movement movements tension "
    "contraction contractions involvement engagement hint hints intensity role contribution part action actions "
    "muscle muscles change changes presence visibility code codes".split()
)
#: All units at once.
GENERIC = frozenset("au aus unit units others other else rest muscles muscle movement movements activity activation "
                    "actions".split())  # fmt: skip
PARTICIPLE = frozenset(
    "showing displaying exhibiting conveying expressing indicating suggesting revealing leaving making creating producing "
    "giving reflecting signaling signalling hinting pointing implying resulting excluding ruling lacking confirming "
    "with without meaning".split()
)
FRONTED = frozenset(
    "with without in at on despite due given except apart aside unlike instead rather besides of as for from based "
    "considering compared contrary like by under among around although because since while whereas if besides overall".split()
)
YES = frozenset(
    "definitely certainly absolutely surely obviously clearly sure yes yep yeah y true present active affirmative indeed correct".split()
)
NO = frozenset("no nope n false absent inactive none negative never".split())

#: Behind "I would": wishes, as against "I would say".
WISHING = frozenset("have expect like need want love".split())
#: "It would be wrong to code AU4": denied.
WRONG = frozenset(
    "wrong incorrect overstatement error mistake mistaken misleading premature inaccurate exaggeration unjustified overcoding".split()
)
#: Behind "could" and "might": what somebody else takes the face for.
SUPPOSING_VERB = frozenset(
    "think expect suspect assume argue mistake misread confuse suppose interpret take add believe guess claim imagine".split()
)
#: With "I": thought of, and mostly given up.
SUSPECTING = frozenset("suspected contemplated debated".split())
#: What one does to a unit: at the end of "which I do not see".
PERCEIVING = frozenset("see find detect observe notice code score recognise recognize confirm discern spot".split())
#: Whoever else looks at the face: with "might see", what they take it for.
ANYONE = frozenset(
    "one people viewers viewer observer observers coders coder annotator annotators others someone somebody reader readers".split()
)
#: What stands before a score: "AU1 is 0", "gets a 0".
BEFORE_A_SCORE = frozenset(
    "is at to are of be a gets get scores receives rated scored graded coded intensity level score value".split()
)
#: "AU26 was considered, but ...": thought of, not claimed.
TENTATIVE = frozenset("argued considered contemplated suspected debated weighed entertained".split())
#: What one is made to do: "if I had to choose, I would say ..." claims.
CHOOSING = frozenset("choose pick guess decide name select forced asked pressed bet".split())
#: Verbs of coding, for "I do not list it".
CODING = frozenset("list code score count include mark report note record".split())
#: Before "it absent", "it uncoded".
LEAVING = frozenset(
    "makes make made renders leave leaves left consider keep deem rate mark call code score regard".split()
)
#: With "for": what was looked for need not be there.
SEEKING = frozenset(
    "look looked looking search searched searching scan scanned scanning check checked checking test tested testing screened".split()
)
#: With "about": neither claimed nor denied.
DOUBTING = frozenset(
    "hesitated hesitate unsure uncertain wondered wonder asked doubtful undecided torn waver wavered choosing choose".split()
)
PREPOSITION = frozenset("in at on from because by around only for through across near under above between".split())
#: Before a mention: it only looks like it.
SEEMING = frozenset("apparent seeming supposed alleged putative".split())
#: Adverbs of what is so in general.
HABIT = frozenset("usually typically normally commonly often generally sometimes ordinarily".split())
#: Beside a percentage: of strength, not of certainty.
STRENGTH = frozenset("intensity strength strong maximum intense level".split())
#: Behind "more" and "less": what is compared is how well a code fits.
LIKELY = frozenset("likely plausible probable fitting convincing accurate appropriate apt".split())
